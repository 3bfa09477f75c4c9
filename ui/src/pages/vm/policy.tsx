// SPDX-License-Identifier: Apache-2.0
// What the VM may, in words, and a question: would this get through?
import {Segmented} from 'antd';
import {useState} from 'react';

import {part} from '../../api/client';
import {CALM, useApi} from '../../api/queries';
import type {Action, Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {PolicyLink, Verdict} from '../../parts/show';
import {Explain} from '../policies/explain-form';

interface EffectiveRule {
  number: number;
  action: Action;
  text: string;
  tier: string;
  policy?: string;
  hits?: number;
  last_hit?: string | null;
}

interface Effective {
  ingress: {closed: boolean; rules: EffectiveRule[]; otherwise: {action: Action; text: string}};
  egress: {closed: boolean; rules: EffectiveRule[]; otherwise: {action: Action; text: string}};
}

function Rules({rules, otherwise}: {rules: EffectiveRule[]; otherwise: {action: Action; text: string}}) {
  const {td} = useI18n();
  return (
    <ol className="rules">
      {rules.map((r) => (
        <li key={r.number}>
          <Verdict action={r.action} />
          <span className="rule-text">{r.text}</span>
          <span className="rule-of">
            {r.policy ? <PolicyLink policy={r.policy} /> : null} <span className="dim">{td(`tier.${r.tier}`, r.tier)}</span>
          </span>
        </li>
      ))}
      <li>
        <Verdict action={otherwise.action} />
        <span className="rule-text dim">{otherwise.text}</span>
      </li>
    </ol>
  );
}

export function VmPolicy({vm}: {vm: Vm}) {
  const {t} = useI18n();
  const [dir, setDir] = useState<'ingress' | 'egress'>('ingress');
  const query = useApi<Effective>(`vms/${part(vm.uuid)}/policy`, undefined, {every: CALM});
  return (
    <div className="stack">
      <Explain from={vm.name} />
      <Segmented
        value={dir}
        onChange={setDir}
        options={[
          {value: 'ingress' as const, label: t('vm.policy.ingress')},
          {value: 'egress' as const, label: t('vm.policy.egress')},
        ]}
      />
      <span className="dim">{t('vm.policy.tenant-rules')}</span>
      <Data query={query}>{(e) => <Rules rules={e[dir].rules} otherwise={e[dir].otherwise} />}</Data>
    </div>
  );
}
