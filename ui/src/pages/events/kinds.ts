// SPDX-License-Identifier: Apache-2.0
/** Beginnings of types of events, for filters and rules; each has a text `event.kind.`. */
export const EVENT_KINDS = ['flow.', 'guard.', 'vm.', 'nic.', 'host.', 'migration.', 'policy.', 'gate.', 'dhcp.', 'address.', 'audit.', 'access.', 'gap'];
