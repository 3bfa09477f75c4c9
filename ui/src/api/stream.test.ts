// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {StreamReader, type StreamEvent} from './stream';

const TEXT = ': heartbeat\n\nid: 7\nevent: flow.new\ndata: {"a":1}\n\nid: 8\r\ndata: x\r\ndata:y\r\n\r\ndata\n\n';
const WANTED: StreamEvent[] = [
  {id: '7', type: 'flow.new', data: '{"a":1}'},
  {id: '8', type: 'message', data: 'x\ny'},
  {id: '8', type: 'message', data: ''},
];

describe('StreamReader', () => {
  it('reads events, however they are cut', () => {
    for (let size = 1; size <= TEXT.length; size++) {
      const reader = new StreamReader();
      const found: StreamEvent[] = [];
      for (let i = 0; i < TEXT.length; i += size) {
        found.push(...reader.push(TEXT.slice(i, i + size)));
      }
      expect(found, `in pieces of ${size}`).toEqual(WANTED);
    }
  });

  it('keeps what is not finished', () => {
    const reader = new StreamReader();
    expect(reader.push('data: half')).toEqual([]);
    expect(reader.push(' an event\n')).toEqual([]);
    expect(reader.push('\n')).toEqual([{id: '', type: 'message', data: 'half an event'}]);
  });
});
