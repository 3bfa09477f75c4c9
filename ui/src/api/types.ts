// SPDX-License-Identifier: Apache-2.0
// What the manager says (docs/api.yaml), as far as the console reads it.

export type Severity = 'info' | 'notice' | 'warning' | 'critical';
export type Action = 'allow' | 'deny' | 'reject';
export type Labels = Record<string, string>;

export interface Page<T> {
  items: T[];
  total: number;
  next?: number;
}

export interface Grant {
  role: string;
  tenant: string;
  until?: string | null;
}

/** A right, as GET /v1/rights tells it. */
export interface Right {
  verb: string;
  words?: string;
  /** Never without a second factor; with one that was shown just now. */
  factor?: boolean;
  dangerous?: boolean;
  reads?: boolean;
}

export interface Session {
  user: string;
  name?: string;
  /** Whose user it is. */
  tenant?: string;
  csrf?: string;
  roles: Grant[];
  /** Verbs by tenant; those of "*" hold everywhere. */
  verbs: Record<string, string[]>;
  second_factor?: {methods: string[]; age_s: number | null};
  expires?: string;
  locale?: string;
  /** The password was given by somebody else. */
  must_change?: boolean;
}

export interface Maintenance {
  on: boolean;
  reason?: string;
  since?: string;
  by?: string;
}

export interface Counts {
  nics?: number;
  addrs?: number;
  sets?: number;
  rows?: number;
  cidrs?: number;
  ranges?: number;
  cts?: number;
}

export type HostState = 'never' | 'offline' | 'in-sync' | 'syncing' | 'full' | 'failed';

export interface Host {
  name: string;
  online: boolean;
  in_sync: boolean;
  state: HostState;
  problem?: string | null;
  certificate?: {fingerprint: string; not_after: string; in_use: boolean; expired: boolean} | null;
  version?: string | null;
  abi?: number | null;
  boot?: string | null;
  enrolled_at?: string;
  last_seen?: string | null;
  intended?: string;
  installed?: string | null;
  revision?: number;
  installed_at?: string | null;
  install_us?: number | null;
  sync_us?: number | null;
  capacity?: Counts;
  used?: Counts;
  labels?: Labels;
  maintenance?: Maintenance;
  vms: number;
  nics: number;
  nics_unprotected: number;
  vm_list?: Vm[];
}

export interface Nic {
  mac: string;
  network?: string;
  net?: number;
  kind?: string;
  source?: string;
  dev?: string;
  addresses: string[];
  addresses_api?: string[];
  addresses_learned?: string[];
  flags?: string[];
  vlans?: number[];
  protected: boolean;
  reason?: string;
}

export interface Place {
  host: string;
  since: string;
  until: string | null;
  how: 'start' | 'migration' | 'restore';
  migration: string | null;
}

export interface Quarantine {
  since: string;
  until: string | null;
  why: string;
  by: Record<string, unknown>[];
}

export interface AddressConflict {
  address: string;
  network: string;
  vlan: number;
  vm: string;
  vm_name: string;
  winner: string;
  winner_name: string;
  why: string;
}

export interface Vm {
  uuid: string;
  name: string;
  type?: string;
  state: string;
  host?: string | null;
  moving_to?: string | null;
  history?: Place[];
  tenant: string;
  tenant_api?: string | null;
  identity: number;
  birth: 'open' | 'closed';
  birth_api?: string | null;
  labels: Labels;
  labels_api?: Labels;
  labels_metadata?: Labels;
  nics: Nic[];
  quarantine?: Quarantine | null;
  over_quota?: {labels: number; limit: number; message: string} | null;
  misplaced?: string | null;
  address_conflicts?: AddressConflict[];
  last_seen?: string;
}

/** A page of VMs, and how many each tenant or host has (null: on no host). */
export interface VmPage extends Page<Vm> {
  groups?: {name: string | null; vms: number}[];
}

export interface Status {
  version: string;
  time: string;
  started_at?: string;
  revision: number;
  in_sync: boolean;
  /** Only for who may see hosts. */
  hosts?: {total: number; online: number; in_sync: number};
  host_list: Host[];
  counts: {
    tenants?: number;
    vms?: number;
    nics?: number;
    nics_unprotected?: number;
    networks?: number;
    identities?: number;
    policies?: number;
    rules?: number;
    address_conflicts?: number;
  };
  bus?: {connected: boolean; url?: string; private_server?: boolean};
  store?: {path?: string; size_bytes?: number; free_bytes?: number; ok?: boolean};
  events?: {stored?: number; last_id?: number; missing?: number; followers?: number};
}

export interface Tenant {
  name: string;
  number: number;
  vms?: number;
  policies?: number;
  self_service?: boolean;
}

export interface Identity {
  number: number;
  tenant: string;
  labels: Labels;
  vms: number;
}

export interface PolicySummary {
  tenant: string;
  name: string;
  tier: 'guardrail' | 'tenant' | 'default';
  order: number;
  rules: number;
  revision?: number;
  file?: string;
}

export interface PolicyRule {
  number: number;
  dir: 'ingress' | 'egress';
  index: number;
  text: string;
  line?: number;
}

export interface Policy extends PolicySummary {
  text: string;
  rule_list: PolicyRule[];
}

export interface PolicyChange {
  tenant: string;
  name: string;
  change: 'added' | 'removed' | 'changed' | 'same';
  text?: string;
}

export interface Judged {
  action: Action;
  rule: number;
  text: string;
  policy?: string;
  file?: string;
  line?: number;
}

export interface Explained {
  verdict: Action;
  from: string;
  to: string;
  port?: string;
  egress?: Judged | null;
  ingress?: Judged | null;
}

export interface EffectSide {
  action: Action;
  rule: string;
}

export interface EffectEntry {
  dir: 'ingress' | 'egress';
  selected: {tenant: string; labels: Labels};
  identities: number[];
  identity_count: number;
  peers: string[];
  services: string[];
  before: EffectSide;
  after: EffectSide;
}

export interface Effect {
  entries: EffectEntry[];
  left_out: number;
  pairs_changed: number;
  complete: boolean;
}

export interface CutEnd {
  address: string;
  port: number;
  vm?: string;
  tenant?: string;
}

export interface Diff {
  changed: boolean;
  changes: PolicyChange[];
  hosts: {host: string; records: number}[];
  effect: Effect | null;
  connections: {
    cut: {host: string; proto: string; src: CutEnd; dst: CutEnd; dir: string; action: Action; rule: string; age_ms?: number}[];
    total: number;
    judged: number;
    silent: string[];
    complete: boolean;
  } | null;
  misplaced?: {vms: {vm: string; name: string; tenant: string; host: string; why: string}[]; total: number} | null;
}

export interface Applied {
  revision: number;
  changed: boolean;
  changes: PolicyChange[];
  complete: boolean;
  elapsed_us?: number;
  hosts: {host: string; in_sync: boolean; online?: boolean; problem?: string | null}[];
  /** Of a commit that has to be confirmed. */
  commit?: string | number;
  confirm_by?: string | null;
}

export interface Revision {
  revision: number;
  author: string;
  time: string;
  summary?: string;
  changes: PolicyChange[];
}

export interface RevisionWhole extends Revision {
  policies: PolicySummary[];
  text: string;
}

export interface BusEvent {
  id: number;
  time: string;
  type: string;
  severity: Severity;
  producer?: string;
  seq?: number;
  host?: string;
  vm?: string;
  vm_name?: string;
  tenant?: string;
  src?: string;
  dst?: string;
  src_vm?: string;
  dst_vm?: string;
  sport?: number;
  dport?: number;
  proto?: string | number;
  dir?: string;
  verdict?: Action;
  action?: Action;
  reason?: string;
  rule?: number;
  rule_text?: string;
  count?: number;
  packets?: number[];
  bytes?: number[];
  [member: string]: unknown;
}

export interface MigrationStep {
  step: string;
  time: string;
  ms: number;
  hash?: string;
  connections?: number;
}

export interface Migration {
  id: string;
  vm: string;
  vm_name: string;
  tenant: string;
  source: string;
  target: string;
  why: 'live' | 'restore';
  state: string;
  open: boolean;
  begun: string;
  ended: string | null;
  ms: number;
  by: Record<string, unknown>[];
  connections: number;
  bytes: number;
  hash: string | null;
  reason: string | null;
  steps?: MigrationStep[];
}

export interface EnrollToken {
  id: number;
  name?: string | null;
  created_at: string;
  expires_at: string;
  used: boolean;
  used_by?: string | null;
}
