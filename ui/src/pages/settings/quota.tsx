// SPDX-License-Identifier: Apache-2.0
// How much a tenant may have, and has. An empty field gives the default back.
import {Form, InputNumber, Modal, Progress} from 'antd';

import {part, put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';

interface One {
  limit: number;
  default: number;
  used?: number;
}
type Quota = Record<string, One>;
type Fields = Record<string, number | null>;

const MOST = 1_000_000_000;

export function QuotaDialog({tenant, onClose}: {tenant: string; onClose: () => void}) {
  const {t, td, number} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<Fields>();
  const path = `tenants/${part(tenant)}/quota`;
  const query = useApi<Quota>(path);
  const writes = may('quota.write', tenant) || may('quota.write', 'provider');
  const save = async (v: Fields): Promise<void> => {
    const done = await run(async () => {
      await put(path, v);
      await refresh('tenants');
    }, t('settings.saved'));
    if (done) {
      onClose();
    }
  };
  return (
    <Modal
      open
      title={t('quota.title', {tenant})}
      onCancel={onClose}
      onOk={() => form.submit()}
      okText={t('action.save')}
      okButtonProps={{style: writes ? {} : {display: 'none'}}}
      confirmLoading={busy}
      destroyOnHidden
    >
      <Data query={query}>
        {(quota) => (
          <Form<Fields>
            form={form}
            layout="vertical"
            disabled={!writes}
            initialValues={Object.fromEntries(Object.entries(quota).map(([what, q]) => [what, q.limit === q.default ? null : q.limit]))}
            onFinish={(v) => void save(Object.fromEntries(Object.keys(quota).map((what) => [what, v[what] ?? null])))}
          >
            {Object.entries(quota).map(([what, q]) => (
              <Form.Item
                key={what}
                name={what}
                label={td(`quota.${what}`, what)}
                extra={
                  q.used === undefined ? undefined : (
                    <span className="quota-used">
                      <Progress percent={q.limit ? Math.min(100, (100 * q.used) / q.limit) : 100} size="small" showInfo={false} status={q.used >= q.limit ? 'exception' : 'normal'} />
                      <span className="num">{t('quota.used', {used: number(q.used), limit: number(q.limit)})}</span>
                    </span>
                  )
                }
              >
                <InputNumber className="fill" min={0} max={MOST} precision={0} placeholder={t('quota.default', {n: q.default})} />
              </Form.Item>
            ))}
          </Form>
        )}
      </Data>
    </Modal>
  );
}
