// SPDX-License-Identifier: Apache-2.0
// Which connections a picture draws when there are more than a reader can tell apart, or a browser can draw at once.
import type {MapEdge} from './map';

export const EDGES_DRAWN = 400;

const weight = (e: MapEdge): number => e.allowed + e.refused;
const toItself = (e: MapEdge): boolean => e.from === e.to;
export const onlyRefused = (e: MapEdge): boolean => e.refused > 0 && e.allowed === 0;

/**
 * At most so many, or one for each node if these are more; in the order that they came in. Each node keeps its strongest line, to itself only when
 * it has no other; of the rest, half of the places go to what was only refused, which is rare and what people look for.
 */
export function strongest(edges: MapEdge[], most = EDGES_DRAWN): MapEdge[] {
  if (edges.length <= most) {
    return edges;
  }
  const ranked = [...edges].sort((a, b) => weight(b) - weight(a));
  const kept = new Set<MapEdge>();
  const met = new Set<string>();
  for (const e of [...ranked.filter((r) => !toItself(r)), ...ranked.filter(toItself)]) {
    if (!met.has(e.from) || !met.has(e.to)) {
      kept.add(e);
      met.add(e.from).add(e.to);
    }
  }
  const fill = (from: MapEdge[], until: number): void => {
    for (const e of from) {
      if (kept.size >= until) {
        return;
      }
      kept.add(e);
    }
  };
  fill(ranked.filter(onlyRefused), Math.ceil((kept.size + most) / 2));
  fill(ranked, most);
  return edges.filter((e) => kept.has(e));
}
