// SPDX-License-Identifier: Apache-2.0
// How things look everywhere: labels, verdicts, severities, states, times, addresses.
import {Tag, Tooltip} from 'antd';
import {Link} from 'react-router-dom';

import {part} from '../api/client';
import type {Action, HostState, Labels, Severity} from '../api/types';
import {useI18n} from '../i18n/i18n';

export function LabelTags({labels, onPick}: {labels: Labels | undefined; onPick?: (label: string) => void}) {
  const entries = Object.entries(labels ?? {}).sort(([a], [b]) => a.localeCompare(b));
  return (
    <span className="labels">
      {entries.map(([key, value]) =>
        onPick ? (
          <button
            key={key}
            type="button"
            className="label label-pick"
            onClick={(e) => {
              e.stopPropagation();
              onPick(`${key}=${value}`);
            }}
          >
            <span className="label-key">{key}</span>={value}
          </button>
        ) : (
          <span key={key} className="label">
            <span className="label-key">{key}</span>={value}
          </span>
        ),
      )}
    </span>
  );
}

/** A text that may be long, in a cell: cut off, and whole under the pointer. */
export function Long({text}: {text: string | null | undefined}) {
  return text ? (
    <span className="long" title={text}>
      {text}
    </span>
  ) : null;
}

const VERDICT_COLOR: Record<Action, string> = {allow: 'success', deny: 'error', reject: 'warning'};

export function Verdict({action}: {action: Action | undefined}) {
  const {t} = useI18n();
  return action ? <Tag color={VERDICT_COLOR[action]} bordered={false}>{t(`verdict.${action}`)}</Tag> : null;
}

const SEVERITY_COLOR: Record<Severity, string> = {info: 'default', notice: 'processing', warning: 'warning', critical: 'error'};

export function SeverityTag({severity}: {severity: Severity}) {
  const {td} = useI18n();
  return (
    <Tag color={SEVERITY_COLOR[severity] ?? 'default'} bordered={false}>
      {td(`severity.${severity}`, severity)}
    </Tag>
  );
}

const HOST_COLOR: Record<HostState, string> = {
  'in-sync': 'success',
  syncing: 'processing',
  never: 'default',
  offline: 'error',
  full: 'error',
  failed: 'error',
};

export function HostStateTag({state}: {state: HostState}) {
  const {td} = useI18n();
  return (
    <Tag color={HOST_COLOR[state] ?? 'default'} bordered={false}>
      {td(`host.state.${state}`, state)}
    </Tag>
  );
}

const RUNNING = new Set(['running', 'blocked', 'idle']);

export function VmState({state}: {state: string}) {
  const {td} = useI18n();
  return (
    <span className="vm-state">
      <i className={`dot ${RUNNING.has(state) ? 'dot-good' : state === 'paused' ? 'dot-warn' : 'dot-off'}`} aria-hidden />
      {td(`vm.state.${state}`, state)}
    </span>
  );
}

/** How long ago, with the exact time on the way. */
export function Time({at, exact}: {at: string | null | undefined; exact?: boolean}) {
  const {relative, dateTime} = useI18n();
  if (!at) {
    return <span className="dim">–</span>;
  }
  return exact ? (
    <time dateTime={at} className="num">
      {dateTime(at)}
    </time>
  ) : (
    <Tooltip title={dateTime(at)}>
      <time dateTime={at}>{relative(at)}</time>
    </Tooltip>
  );
}

export function VmLink({uuid, name}: {uuid: string | undefined; name: string | undefined}) {
  const shown = name || uuid;
  return shown ? (
    <Link to={`/vms/${part(uuid || shown)}`} className="name" title={shown}>
      {shown}
    </Link>
  ) : (
    <span className="dim">–</span>
  );
}

export function HostLink({name}: {name: string | null | undefined}) {
  return name ? <Link to={`/hosts/${part(name)}`}>{name}</Link> : <span className="dim">–</span>;
}

export function PolicyLink({policy}: {policy: string}) {
  const [tenant, ...rest] = policy.split('/');
  return <Link to={`/policies/${part(tenant ?? '')}/${part(rest.join('/'))}`}>{policy}</Link>;
}

export function Addresses({list}: {list: string[]}) {
  return list.length ? (
    <span className="mono addresses">
      {list.map((a) => (
        <span key={a}>{a}</span>
      ))}
    </span>
  ) : (
    <span className="dim">–</span>
  );
}
