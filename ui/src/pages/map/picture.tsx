// SPDX-License-Identifier: Apache-2.0
// The picture of the map, drawn by G6 on a canvas.
import {Graph, type EdgeData, type GraphData, type NodeData} from '@antv/g6';
import {useEffect, useMemo, useRef, type ReactNode} from 'react';

import {useTheme} from '../../app/theme';
import {useI18n} from '../../i18n/i18n';
import type {MapData, MapEdge, MapNode} from './map';

interface Colors {
  text: string;
  halo: string;
  good: string;
  partly: string;
  bad: string;
  tenant: string;
  group: string;
  vm: string;
  entity: string;
}

const LIGHT: Colors = {text: '#1f2933', halo: '#ffffff', good: '#2f855a', partly: '#b7791f', bad: '#c53030', tenant: '#2b6cb0', group: '#3a7fc4', vm: '#5b7ea6', entity: '#8b96a3'};
const DARK: Colors = {text: '#d7dde4', halo: '#161b22', good: '#4ca66c', partly: '#d9a441', bad: '#e2625d', tenant: '#4c8fd6', group: '#5b9bdd', vm: '#6f8fb3', entity: '#76818d'};

/** Areas, not lengths, tell how many VMs a node stands for. */
const sizeOf = (n: MapNode): number => (n.kind === 'entity' ? 26 : Math.min(84, 20 + 4 * Math.sqrt(n.vms ?? 1)));
/** So many edges are too many for strong lines; for bends and arrows; so many nodes for a name at each. */
const BUSY = 80;
const DENSE = 200;
const NAMED = 90;

const widthOf = (e: MapEdge): number => Math.min(6, 1 + Math.log10(1 + e.allowed + e.refused));

const onlyRefused = (e: MapEdge): boolean => e.refused > 0 && e.allowed === 0;

/** The whole is shown as small as it must be to fit; names stay readable. */
const textOf = (nodes: number): number => Math.round(12 * Math.max(1, Math.sqrt(nodes / 30)));

function nodeData(n: MapNode, c: Colors, name: string, opens: boolean, nodes: number): NodeData {
  return {
    id: n.id,
    style: {
      size: sizeOf(n),
      fill: c[n.kind],
      fillOpacity: n.kind === 'entity' ? 0.5 : 0.85,
      stroke: c.halo,
      lineWidth: 1.5,
      labelText: name.length > 40 ? `${name.slice(0, 39)}…` : name,
      label: n.kind === 'entity' || nodes <= NAMED,
      labelFill: c.text,
      labelBackground: true,
      labelBackgroundFill: c.halo,
      labelBackgroundOpacity: 0.8,
      labelBackgroundRadius: 3,
      labelPadding: [0, 3],
      labelFontSize: textOf(nodes),
      labelPlacement: 'bottom',
      cursor: n.kind === 'entity' || !opens ? 'default' : 'pointer',
    },
  };
}

/** What was only refused stays visible however many lines there are. */
function opacityOf(refused: boolean, density: number): number {
  if (density <= BUSY || (refused && density > DENSE)) {
    return 0.7;
  }
  return density > DENSE ? 0.3 : 0.45;
}

function edgeData(e: MapEdge, c: Colors, density: number): EdgeData {
  const refused = onlyRefused(e);
  return {
    id: `${e.from}→${e.to}`,
    source: e.from,
    target: e.to,
    style: {
      stroke: refused ? c.bad : e.refused > 0 ? c.partly : c.good,
      strokeOpacity: opacityOf(refused, density),
      lineWidth: widthOf(e),
      lineDash: refused ? [5, 4] : [],
      endArrow: density <= DENSE,
      endArrowSize: density > BUSY ? 5 : 7,
      ...(e.from === e.to ? {} : {curveOffset: 18}),
    },
  };
}

const ITERATIONS = 200;
/** Nodes times iterations: what a layout may cost. */
const STEPS = 20_000;

function layoutOf(nodes: number, edges: number): Record<string, unknown> {
  const iterations = Math.min(ITERATIONS, Math.ceil(STEPS / Math.max(1, nodes)));
  return {
    type: 'd3-force',
    preLayout: true, // else everything is drawn twice
    // Many edges: each pulls less the more its ends have (the default of d3), or they pull everything into one heap; and wider than high.
    ...(edges > DENSE ? {link: {distance: 170}, x: {strength: 0.04}, y: {strength: 0.2}} : {link: {distance: 170, strength: 0.25}}),
    manyBody: {strength: -700},
    collide: {radius: 60, strength: 0.9},
    iterations,
    ...(iterations < ITERATIONS ? {alphaDecay: 1 - 0.001 ** (1 / iterations)} : {}), // at rest after as many
  };
}

/** The whole picture in the window, but never larger than it is. (G6's own "when it overflows" means both ways at once.) */
async function fit(graph: Graph): Promise<void> {
  await graph.fitView();
  if (graph.getZoom() > 1) {
    await graph.zoomTo(1);
    await graph.fitCenter();
  }
}

/** children: what the colors mean. */
export default function Picture({data, onOpen, children}: {data: MapData; onOpen?: (node: MapNode) => void; children: ReactNode}) {
  const {t, td, tn} = useI18n();
  const {dark} = useTheme();
  const place = useRef<HTMLDivElement>(null);
  const opens = onOpen !== undefined;
  const open = useRef(onOpen);
  open.current = onOpen;
  const edges = useMemo(() => {
    const known = new Set(data.nodes.map((n) => n.id));
    return data.edges.filter((e) => known.has(e.from) && known.has(e.to));
  }, [data]);
  // a fetch that brings what is shown already must not throw the picture about
  const key = JSON.stringify([data.nodes, edges.map((e) => [e.from, e.to, widthOf(e), e.refused > 0])]);

  const graphData = useMemo<GraphData>(() => {
    const colors = dark ? DARK : LIGHT;
    const name = (n: MapNode): string => (n.kind === 'entity' ? td(`entity.${n.name}`, n.name) : n.kind === 'vm' || n.vms === undefined ? n.name : `${n.name} · ${tn('map.vms', n.vms)}`);
    return {
      nodes: data.nodes.map((n) => nodeData(n, colors, name(n), opens, data.nodes.length)),
      edges: edges.map((e) => edgeData(e, colors, edges.length)),
    };
    // key stands for data
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, dark, opens, td, tn]);

  useEffect(() => {
    const shown = place.current;
    if (!shown) {
      return undefined;
    }
    let ended = false;
    const count = graphData.edges?.length ?? 0;
    const graph = new Graph({
      container: shown,
      autoResize: true,
      zoomRange: [0.05, 4],
      padding: [30, 40, 60, 40], // the legend is below
      animation: false,
      data: graphData,
      node: {type: 'circle', state: {active: {label: true}}},
      edge: {type: (d: EdgeData) => (d.source === d.target || count > DENSE ? 'line' : 'quadratic')},
      layout: layoutOf(graphData.nodes?.length ?? 0, count) as never,
      behaviors: ['drag-canvas', 'zoom-canvas', 'drag-element', {type: 'hover-activate', degree: 1, inactiveState: 'inactive', animation: false}],
    });
    graph.on('node:click', (event: unknown) => {
      const id = (event as {target: {id: string}}).target.id;
      const node = data.nodes.find((n) => n.id === id);
      if (node) {
        open.current?.(node);
      }
    });
    const draw = async (): Promise<void> => {
      await graph.render();
      await fit(graph);
      if (!ended) {
        shown.setAttribute('data-drawn', 'yes');
      }
    };
    const drawn = draw();
    return () => {
      ended = true;
      shown.removeAttribute('data-drawn');
      void drawn.finally(() => graph.destroy()); // in the midst of drawing it does not bear that
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [graphData]);

  return (
    <>
      <div className="map-canvas" ref={place} />
      <div className="map-legend">
        {children}
        {edges.length < (data.edges_total ?? 0) && <span>{t('map.drawn', {n: edges.length, all: data.edges_total ?? 0})}</span>}
      </div>
    </>
  );
}
