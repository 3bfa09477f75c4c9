// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {powerActs} from './power';

describe('acts on a VM', () => {
  it('are those that make sense in its state', () => {
    expect(powerActs('shutoff')).toEqual(['start']);
    expect(powerActs('paused')).toContain('resume');
    expect(powerActs('paused')).not.toContain('suspend');
    expect(powerActs('running')).not.toContain('start');
    expect(powerActs('gone')).toEqual([]);
  });
});
