// SPDX-License-Identifier: Apache-2.0
// Texts in English: the map.
export const map = {
  'map.by.tenant': 'Tenants',
  'map.by.labels': 'Label sets',
  'map.by.label': 'One label',
  'map.by.vm': 'VMs',
  'map.whole': 'Whole map',
  'map.window': 'Length of the window',
  'map.hours': '{n} h',
  'map.time': 'Window ends',
  'map.now': 'now',
  'map.allowed': 'Allowed',
  'map.refused': 'Refused',
  'map.table': 'As a table',
  'map.vms.one': '{n} VM',
  'map.vms.other': '{n} VMs',
  'map.left-out': '{n} smaller groups stand together as "others"',
  'map.drawn': '{n} of {all} connections drawn; the table has all',
  'map.none': 'Nobody talked to anybody in this window',
  'map.none.hint': 'Choose a longer window, or move its end.',
  'map.partly': 'Some refused',
} as const;
