// SPDX-License-Identifier: Apache-2.0
// What the console is looked at with: its pages, and a small world.
import {until} from './harness.mjs';

export const PAGES = [
  '/', '/inventory', '/inventory?view=tenant', '/hosts', '/hosts/sim0', '/map', '/map?by=vm', '/migrations', '/policies', '/policies/t0/web',
  '/policies/edit', '/policies/edit?policy=t0/web', '/policies/rules', '/policies/explain', '/policies/history', '/events', '/events?view=flows',
  '/alerts', '/requests', '/audit', '/users', '/users?tab=roles', '/settings', '/settings?tab=enroll', '/settings?tab=channels',
  '/settings?tab=approvals', '/settings?tab=about', '/me', '/me?tab=password', '/me?tab=sessions', '/me?tab=tokens', '/nowhere/at/all',
];

/** Sees everything of everybody, and may do most of it. */
export const ALL_ROLES = [
  {role: 'provider-admin', at: '*'},
  {role: 'security-officer', at: '*'},
  {role: 'auditor', at: '*'},
  {role: 'tenant-admin', at: 't0'},
];

export const GUARDRAIL = `kind: Policy
metadata: {name: no-ssh, tenant: provider}
spec:
  tier: guardrail
  selector: {}
  ingress:
  - name: no-ssh-from-others
    action: deny
    from: [{tenancy: other}]
    ports: [tcp/22]
`;

export const policyOf = (tenant, name, ports = 'tcp/443, tcp/80') => `kind: Policy
metadata: {name: ${name}, tenant: ${tenant}}
spec:
  selector: {matchLabels: {app: a0}}
  ingress:
  - {name: https, ports: [${ports}]}
  - {name: db, from: [{selector: {}}], ports: [tcp/3306]}
  egress:
  - {name: out, action: allow}
`;

const documents = (...list) => list.join('---\n');

/** Two hosts, twelve VMs, two tenants. */
export async function little(manager) {
  await manager.simulate(2, 6, 2);
  await manager.must('POST', 'policies:apply?wait=10', documents(GUARDRAIL, policyOf('t0', 'web'), policyOf('t1', 'web')));
  const [a, b, c, d] = manager.vms;
  for (let i = 0; i < 10; i++) {
    manager.flow(a, c, 443);
    manager.flow(c, a, 3306);
    manager.flow(b, '198.51.100.7', 443);
    manager.flow(d, a, 22, 'deny');
  }
  manager.event(0, {type: 'guard.spoof-ip', severity: 'warning', vm: a.uuid, vm_name: a.name, nic: a.nics[0].mac, src: '10.9.9.9', count: 3});
  await stored(manager, 40, 1);
}

async function stored(manager, flows, alerts) {
  await until('flows and alerts', async () => {
    const status = await manager.must('GET', 'status');
    const list = await manager.must('GET', 'alerts?limit=200');
    return status.events.stored >= flows + alerts && list.items.length >= Math.min(alerts, 100);
  });
}
