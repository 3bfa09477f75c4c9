// SPDX-License-Identifier: Apache-2.0
import {describe, expect, it} from 'vitest';

import {strongest} from './edges';
import type {MapEdge} from './map';

const edge = (from: string, to: string, allowed: number, refused = 0): MapEdge => ({from, to, allowed, refused, bytes: 0, last: '', services: []});
const names = (edges: MapEdge[]): string[] => edges.map((e) => `${e.from}${e.to}`);

describe('the connections that are drawn', () => {
  it('are all when they are few', () => {
    const edges = [edge('a', 'b', 1), edge('b', 'a', 2)];
    expect(strongest(edges, 2)).toBe(edges);
  });

  it('are the strongest, in the order that they came in', () => {
    expect(names(strongest([edge('a', 'b', 1), edge('b', 'a', 7), edge('a', 'c', 2), edge('c', 'a', 9)], 2))).toEqual(['ba', 'ca']);
  });

  it('leave no node without a line, to another if there is one', () => {
    const edges = [edge('a', 'b', 100), edge('b', 'a', 90), edge('c', 'c', 80), edge('a', 'c', 1), edge('a', 'c', 2), edge('d', 'd', 1), edge('d', 'd', 2)];
    expect(strongest(edges, 1)).toEqual([edges[0], edges[4], edges[6]]);
  });

  it('give half of the places that are left to what was only refused', () => {
    const edges = Array.from({length: 20}, (_, i) => edge('a', 'b', 100 - i)).concat(Array.from({length: 20}, (_, i) => edge('a', 'b', 0, 20 - i)));
    const drawn = strongest(edges, 11);
    expect(drawn).toHaveLength(11);
    expect(drawn.filter((e) => e.refused).map((e) => e.refused)).toEqual([20, 19, 18, 17, 16]);
    expect(drawn.filter((e) => e.allowed).map((e) => e.allowed)).toEqual([100, 99, 98, 97, 96, 95]);
  });

  it('are as many as there may be when there are fewer refused', () => {
    const edges = [edge('a', 'b', 0, 1), ...Array.from({length: 50}, (_, i) => edge('a', 'b', 2 + i))];
    expect(strongest(edges, 10)).toHaveLength(10);
    expect(strongest(edges, 10)).toContain(edges[0]);
  });
});
