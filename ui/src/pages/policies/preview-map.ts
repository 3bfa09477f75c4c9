// SPDX-License-Identifier: Apache-2.0
// A change as a map: only what gets another verdict, refused or allowed as it would be afterwards.
import type {EffectEntry, Labels} from '../../api/types';
import type {MapData, MapEdge, MapNode} from '../map/map';
import type {FlowEnd, RecordedFlows} from './preview';

const words = (labels: Labels | undefined): string =>
  Object.entries(labels ?? {})
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');

function nodeOf(end: FlowEnd): MapNode {
  if (end.entity) {
    return {id: `entity:${end.entity}`, kind: 'entity', name: end.entity};
  }
  const name = [end.tenant, words(end.labels)].filter(Boolean).join(' ');
  return {id: `group:${name}`, kind: 'group', name, ...(end.tenant ? {tenant: end.tenant} : {})};
}

class Builder {
  private readonly nodes = new Map<string, MapNode>();
  private readonly edges = new Map<string, MapEdge>();

  add(from: MapNode, to: MapNode, allowed: boolean, count: number, service: string): void {
    this.nodes.set(from.id, from);
    this.nodes.set(to.id, to);
    const key = `${from.id} ${to.id}`;
    const edge = this.edges.get(key) ?? {from: from.id, to: to.id, allowed: 0, refused: 0, bytes: 0, last: '', services: []};
    edge[allowed ? 'allowed' : 'refused'] += count;
    if (service && !edge.services.includes(service)) {
      edge.services.push(service);
    }
    this.edges.set(key, edge);
  }

  data(leftOut: number): MapData {
    return {since: '', until: '', nodes: [...this.nodes.values()], edges: [...this.edges.values()], left_out: leftOut};
  }
}

/** Of flows that were recorded: how many would be judged otherwise. */
export function mapOfFlows(flows: RecordedFlows): MapData {
  const map = new Builder();
  for (const e of flows.entries) {
    map.add(nodeOf(e.src), nodeOf(e.dst), e.after.action === 'allow', e.flows, e.service);
  }
  return map.data(flows.left_out);
}

/** Of everything that could happen: who may reach whom otherwise than before. */
export function mapOfEffect(entries: EffectEntry[], leftOut: number): MapData {
  const map = new Builder();
  for (const e of entries) {
    const own = nodeOf({tenant: e.selected.tenant, labels: e.selected.labels});
    for (const name of e.peers) {
      const peer: MapNode = {id: `peer:${name}`, kind: 'entity', name};
      const [from, to] = e.dir === 'ingress' ? [peer, own] : [own, peer];
      map.add(from, to, e.after.action === 'allow', 1, e.services.join(', '));
    }
  }
  return map.data(leftOut);
}
