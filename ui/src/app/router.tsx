// SPDX-License-Identifier: Apache-2.0
// Which path shows which page. Each page is a chunk of its own, fetched when it is first looked at.
import {lazy, Suspense, type ComponentType, type ReactNode} from 'react';
import {createBrowserRouter} from 'react-router-dom';

import {Boundary} from '../parts/boundary';
import {Waiting} from '../parts/waiting';
import {SessionProvider} from '../session/session';
import {Shell} from './shell';

type Load = () => Promise<{default: ComponentType}>;

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
    children: [
      {index: true, element: page(() => import('../pages/overview'))},
      {path: 'inventory', element: page(() => import('../pages/inventory'))},
      {path: 'vms/:id', element: page(() => import('../pages/vm/vm'))},
      {path: 'hosts', element: page(() => import('../pages/hosts'))},
      {path: 'hosts/:name', element: page(() => import('../pages/host'))},
      {path: 'map', element: page(() => import('../pages/map/map'))},
      {path: 'migrations', element: page(() => import('../pages/migrations'))},
      {path: 'policies', element: page(() => import('../pages/policies/list'))},
      {path: 'policies/edit', element: page(() => import('../pages/policies/editor'))},
      {path: 'policies/history', element: page(() => import('../pages/policies/history'))},
      {path: 'policies/explain', element: page(() => import('../pages/policies/explain'))},
      {path: 'policies/watched', element: page(() => import('../pages/policies/watched'))},
      {path: 'policies/rules', element: page(() => import('../pages/policies/rules'))},
      {path: 'policies/:tenant/:name', element: page(() => import('../pages/policies/policy'))},
      {path: 'events', element: page(() => import('../pages/events/events'))},
      {path: 'alerts', element: page(() => import('../pages/alerts'))},
      {path: 'requests', element: page(() => import('../pages/requests'))},
      {path: 'audit', element: page(() => import('../pages/audit'))},
      {path: 'users', element: page(() => import('../pages/users/users'))},
      {path: 'users/:name', element: page(() => import('../pages/users/user'))},
      {path: 'settings', element: page(() => import('../pages/settings/settings'))},
      {path: 'me', element: page(() => import('../pages/me/me'))},
      {path: '*', element: page(() => import('../pages/nowhere'))},
    ],
  },
]);
