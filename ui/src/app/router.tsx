// SPDX-License-Identifier: Apache-2.0
// Which path shows which page. Each page is a chunk of its own, fetched when it is first looked at; that of the path the console is opened at
// while the manager is still asked whose session this is.
import {lazy, Suspense, type ComponentType, type ReactNode} from 'react';
import {createBrowserRouter, matchRoutes} from 'react-router-dom';

import {Boundary} from '../parts/boundary';
import {Waiting} from '../parts/waiting';
import {SessionProvider} from '../session/session';
import {Shell} from './shell';

type Load = () => Promise<{default: ComponentType}>;

const PAGES: [path: string, load: Load][] = [
  ['', () => import('../pages/overview')],
  ['inventory', () => import('../pages/inventory')],
  ['vms/:id', () => import('../pages/vm/vm')],
  ['hosts', () => import('../pages/hosts')],
  ['hosts/:name', () => import('../pages/host')],
  ['map', () => import('../pages/map/map')],
  ['migrations', () => import('../pages/migrations')],
  ['policies', () => import('../pages/policies/list')],
  ['policies/edit', () => import('../pages/policies/editor')],
  ['policies/history', () => import('../pages/policies/history')],
  ['policies/explain', () => import('../pages/policies/explain')],
  ['policies/watched', () => import('../pages/policies/watched')],
  ['policies/rules', () => import('../pages/policies/rules')],
  ['policies/:tenant/:name', () => import('../pages/policies/policy')],
  ['events', () => import('../pages/events/events')],
  ['alerts', () => import('../pages/alerts')],
  ['requests', () => import('../pages/requests')],
  ['audit', () => import('../pages/audit')],
  ['users', () => import('../pages/users/users')],
  ['users/:name', () => import('../pages/users/user')],
  ['settings', () => import('../pages/settings/settings')],
  ['me', () => import('../pages/me/me')],
  ['*', () => import('../pages/nowhere')],
];

function page(load: Load): ReactNode {
  const Page = lazy(load);
  return (
    <Boundary>
      <Suspense fallback={<Waiting />}>
        <Page />
      </Suspense>
    </Boundary>
  );
}

export const router = createBrowserRouter([
  {
    path: '/',
    element: (
      <SessionProvider>
        <Shell />
      </SessionProvider>
    ),
    children: PAGES.map(([path, load]) => ({...(path ? {path} : {index: true}), element: page(load), handle: load})),
  },
]);

/** Fetches what the page at this path is made of; who shows it meets a failure again. */
export function preload(path: string): void {
  const load = matchRoutes(router.routes, path)?.at(-1)?.route.handle as Load | undefined;
  load?.().catch(() => undefined);
}
