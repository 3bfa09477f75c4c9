// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import type {EffectEntry} from '../../api/types';
import type {RecordedFlows} from './preview';
import {mapOfEffect, mapOfFlows} from './preview-map';

const verdict = (action: 'allow' | 'deny') => ({action, rule: ''});

describe('a change as a map', () => {
  it('puts flows between the same ends together', () => {
    const flow = {src: {tenant: 'shop', labels: {zone: 'a', role: 'web'}}, dst: {entity: 'world'}, bytes: 0, first: '', last: ''};
    const map = mapOfFlows({
      entries: [
        {...flow, service: 'tcp/443', flows: 5, before: verdict('allow'), after: verdict('deny')},
        {...flow, src: {tenant: 'shop', labels: {role: 'web', zone: 'a'}}, service: 'tcp/80', flows: 2, before: verdict('deny'), after: verdict('allow')},
      ],
      left_out: 3,
    } as unknown as RecordedFlows);
    expect(map.nodes.map((n) => n.name)).toEqual(['shop role=web zone=a', 'world']);
    expect(map.edges).toEqual([expect.objectContaining({refused: 5, allowed: 2, services: ['tcp/443', 'tcp/80']})]);
    expect(map.left_out).toBe(3);
  });

  it('points from who sends to who receives', () => {
    const entry = {selected: {tenant: 'shop', labels: {role: 'db'}}, peers: ['world'], services: ['tcp/5432'], after: verdict('deny')};
    const edges = (dir: string) => mapOfEffect([{...entry, dir} as unknown as EffectEntry], 0).edges.map((e) => [e.from, e.to, e.refused]);
    expect(edges('ingress')).toEqual([['peer:world', 'group:shop role=db', 1]]);
    expect(edges('egress')).toEqual([['group:shop role=db', 'peer:world', 1]]);
  });
});
