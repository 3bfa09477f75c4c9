// SPDX-License-Identifier: Apache-2.0
// Which acts on a VM make sense when.

export type Power = 'start' | 'shutdown' | 'reboot' | 'reset' | 'suspend' | 'resume';

/** Acts that make sense in a state of libvirt's. */
export function powerActs(state: string): Power[] {
  switch (state) {
    case 'shutoff':
    case 'crashed':
      return ['start'];
    case 'paused':
      return ['resume', 'reset'];
    case 'gone':
      return [];
    case 'pmsuspended':
      return ['shutdown', 'reset'];
    default:
      return ['shutdown', 'reboot', 'reset', 'suspend'];
  }
}
