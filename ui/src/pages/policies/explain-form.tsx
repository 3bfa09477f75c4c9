// SPDX-License-Identifier: Apache-2.0
// Would this get through, and which rule says so, at the sender and at the receiver?
import {AutoComplete, Button, Form, Input} from 'antd';
import {useMemo, useState} from 'react';

import {useApi} from '../../api/queries';
import type {Explained, Judged, Page, Vm} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {Data} from '../../parts/data';
import {useFilters} from '../../parts/filters';
import {usePaused} from '../../parts/paused';
import {PolicyLink, Verdict} from '../../parts/show';

interface Question {
  from: string;
  to: string;
  port?: string;
}

function Side({title, judged}: {title: string; judged: Judged | null | undefined}) {
  const {t} = useI18n();
  return (
    <div className="explain-side">
      <span className="dim">{title}</span>
      {judged ? (
        <>
          <Verdict action={judged.action} />
          <span>{judged.text}</span>
          {judged.policy && <PolicyLink policy={judged.policy} />}
        </>
      ) : (
        <span className="dim">{t('explain.no-vm')}</span>
      )}
    </div>
  );
}

const OFFERED = 20;

/** A VM, an address, world or host; offers the VMs that fit what is there. The form gives it its id, value and onChange. */
function End(field: {id?: string; value?: string; onChange?: (value: string) => void}) {
  const {t} = useI18n();
  const q = usePaused(field.value ?? '');
  const vms = useApi<Page<Vm>>('vms', {q, limit: OFFERED});
  const options = useMemo(
    () => [
      ...['world', 'host'].filter((name) => name.includes(q.toLowerCase())).map((value) => ({value, label: value})),
      ...(vms.data?.items ?? []).map((v) => ({key: v.uuid, value: v.name, label: `${v.name} · ${v.tenant}`})),
    ],
    [q, vms.data],
  );
  return <AutoComplete {...field} options={options} filterOption={false} style={{width: 200}} placeholder={t('explain.end')} />;
}

export function Explain({from}: {from?: string}) {
  const {t} = useI18n();
  const [filters, set] = useFilters<'from' | 'to' | 'port'>('from', 'to', 'port');
  const [asked, setAsked] = useState<Question | null>(filters.to && (filters.from || from) ? {from: filters.from ?? from ?? '', to: filters.to, port: filters.port ?? ''} : null);
  const answer = useApi<Explained>('policies:explain', asked ? {...asked} : undefined, {enabled: asked !== null});
  const ask = (q: Question): void => {
    setAsked(q);
    set({to: q.to, port: q.port, ...(from ? {} : {from: q.from})});
  };
  return (
    <div className="stack">
      <Form
        layout="inline"
        requiredMark={false}
        colon={false}
        className="explain"
        onFinish={(v: Question) => ask({from: from ?? v.from.trim(), to: v.to.trim(), port: v.port?.trim() ?? ''})}
        initialValues={filters}
      >
        {from === undefined && (
          <Form.Item name="from" label={t('explain.from')} rules={[{required: true, message: t('form.required')}]}>
            <End />
          </Form.Item>
        )}
        <Form.Item name="to" label={from === undefined ? t('explain.to') : t('explain.may-reach')} rules={[{required: true, message: t('form.required')}]}>
          <End />
        </Form.Item>
        <Form.Item name="port" label={t('explain.port')}>
          <Input placeholder="tcp/443" style={{width: 110}} className="mono" />
        </Form.Item>
        <Button htmlType="submit" type="primary">
          {t('explain.ask')}
        </Button>
      </Form>
      {asked && (
        <Data query={answer}>
          {(a) => (
            <div className="explain-answer" role="status">
              <p>
                <Verdict action={a.verdict} /> {a.from} → {a.to} {asked.port && <code>{asked.port}</code>}
              </p>
              <Side title={t('explain.at-sender')} judged={a.egress} />
              <Side title={t('explain.at-receiver')} judged={a.ingress} />
            </div>
          )}
        </Data>
      )}
    </div>
  );
}
