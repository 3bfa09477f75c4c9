// SPDX-License-Identifier: Apache-2.0
// Which events become alerts: by how grave they are, and otherwise for some types.
import {DeleteOutlined, PlusOutlined} from '@ant-design/icons';
import {AutoComplete, Button, Form, Select, Space} from 'antd';

import {put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';
import {EVENT_KINDS} from '../events/kinds';

interface AlertRules {
  severity?: string;
  rules?: {type: string; severity: string}[];
}

const LEVELS = ['info', 'notice', 'warning', 'critical'];
const MOST = 100;

export function AlertRulesForm() {
  const {t, td} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const query = useApi<AlertRules>('settings/alerts');
  const levels = [...LEVELS.map((s) => ({value: s, label: t('events.or-graver', {severity: td(`severity.${s}`, s)})})), {value: 'never', label: t('alert-rules.never')}];
  const types = EVENT_KINDS.map((k) => ({value: k, label: `${k} · ${td(`event.kind.${k}`, k)}`}));
  const required = [{required: true, message: t('form.required')}];
  return (
    <div className="stack">
      <p className="dim">{t('alert-rules.text')}</p>
      <Data query={query}>
        {(s) => (
          <Form<AlertRules>
            key={JSON.stringify(s)}
            layout="vertical"
            disabled={!may('settings.write')}
            initialValues={{severity: s.severity ?? 'warning', rules: s.rules ?? []}}
            onFinish={(v) =>
              void run(async () => {
                await put('settings/alerts', {severity: v.severity, rules: v.rules ?? []});
                await refresh('settings');
              }, t('settings.saved'))
            }
          >
            <Form.Item name="severity" label={t('alert-rules.severity')}>
              <Select className="narrow" options={levels} />
            </Form.Item>
            <Form.Item label={t('alert-rules.except')} extra={t('alert-rules.except.hint')}>
              <Form.List name="rules">
                {(fields, {add, remove}) => (
                  <>
                    {fields.map((f) => (
                      <Space key={f.key} align="baseline" wrap className="label-row">
                        <Form.Item name={[f.name, 'type']} rules={required}>
                          <AutoComplete style={{width: 220}} options={types} placeholder={t('event.type')} aria-label={t('event.type')} maxLength={64} />
                        </Form.Item>
                        <Form.Item name={[f.name, 'severity']} rules={required}>
                          <Select style={{width: 200}} options={levels} placeholder={t('event.severity')} aria-label={t('event.severity')} />
                        </Form.Item>
                        <Button type="text" icon={<DeleteOutlined />} aria-label={t('action.remove')} onClick={() => remove(f.name)} />
                      </Space>
                    ))}
                    {may('settings.write') && (
                      <div>
                        <Button type="dashed" icon={<PlusOutlined />} disabled={fields.length >= MOST} onClick={() => add()}>
                          {t('alert-rules.add')}
                        </Button>
                      </div>
                    )}
                  </>
                )}
              </Form.List>
            </Form.Item>
            {may('settings.write') && (
              <Button type="primary" htmlType="submit" loading={busy}>
                {t('action.save')}
              </Button>
            )}
          </Form>
        )}
      </Data>
    </div>
  );
}
