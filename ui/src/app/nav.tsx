// SPDX-License-Identifier: Apache-2.0
// The table of contents: what stands on the left, and which verb makes it useful.
import {
  AlertOutlined,
  AuditOutlined,
  ClusterOutlined,
  DashboardOutlined,
  DeploymentUnitOutlined,
  FileProtectOutlined,
  HddOutlined,
  ProfileOutlined,
  SettingOutlined,
  SolutionOutlined,
  SwapOutlined,
  TeamOutlined,
} from '@ant-design/icons';
import type {ReactNode} from 'react';

import type {Key} from '../i18n/text';

export interface NavItem {
  path: string;
  label: Key;
  icon: ReactNode;
  /** Shown to who holds one of these anywhere; always when absent. */
  verbs?: string[];
}

export const NAV: {label: Key; items: NavItem[]}[] = [
  {
    label: 'nav.group.see',
    items: [
      {path: '/', label: 'nav.overview', icon: <DashboardOutlined />},
      {path: '/inventory', label: 'nav.inventory', icon: <ClusterOutlined />, verbs: ['vm.read']},
      {path: '/hosts', label: 'nav.hosts', icon: <HddOutlined />, verbs: ['host.read']},
      {path: '/map', label: 'nav.map', icon: <DeploymentUnitOutlined />, verbs: ['flow.read']},
      {path: '/migrations', label: 'nav.migrations', icon: <SwapOutlined />, verbs: ['vm.read']},
    ],
  },
  {
    label: 'nav.group.protect',
    items: [
      {path: '/policies', label: 'nav.policies', icon: <FileProtectOutlined />, verbs: ['policy.read']},
      {path: '/events', label: 'nav.events', icon: <ProfileOutlined />, verbs: ['event.read', 'flow.read']},
      {path: '/alerts', label: 'nav.alerts', icon: <AlertOutlined />, verbs: ['event.read', 'alert.write']},
    ],
  },
  {
    label: 'nav.group.people',
    items: [
      {path: '/requests', label: 'nav.requests', icon: <SolutionOutlined />, verbs: ['request.submit', 'request.decide']},
      {path: '/audit', label: 'nav.audit', icon: <AuditOutlined />, verbs: ['audit.read']},
      {path: '/users', label: 'nav.users', icon: <TeamOutlined />, verbs: ['user.read', 'user.write']},
      {path: '/settings', label: 'nav.settings', icon: <SettingOutlined />, verbs: ['settings.read', 'settings.write', 'host.enroll', 'tenant.read']},
    ],
  },
];

/** The item that a path belongs to: the longest that begins it. */
export function itemOf(path: string): NavItem | undefined {
  return NAV.flatMap((g) => g.items)
    .filter((i) => path === i.path || (i.path !== '/' && path.startsWith(`${i.path}/`)))
    .sort((a, b) => b.path.length - a.path.length)[0];
}
