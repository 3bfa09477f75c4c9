// SPDX-License-Identifier: Apache-2.0
// Which subjects of a provider of single sign-on a user is. Linking is how somebody who has an account here already logs in there.
import {Button, Form, Input, Popconfirm, Table} from 'antd';

import {del, part, put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';

interface Link {
  issuer: string;
  subject: string;
}

const LONGEST = 255;

export function Links({user}: {user: string}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const [form] = Form.useForm<{subject: string}>();
  const path = `users/${part(user)}/oidc`;
  const query = useApi<{items: Link[]}>(path);
  const change = (work: () => Promise<unknown>, done: string): Promise<boolean> =>
    run(async () => {
      await work();
      form.resetFields();
      await refresh('users');
    }, done);
  const writes = may('user.write');
  return (
    <section className="panel" aria-label={t('factor.oidc')}>
      <div className="panel-head">
        {t('factor.oidc')}
        {writes && Boolean(query.data?.items.length) && (
          <Popconfirm title={t('user.unlink.sure', {user})} onConfirm={() => change(() => del(path), t('user.unlinked'))}>
            <Button size="small" danger type="text">
              {t('user.unlink')}
            </Button>
          </Popconfirm>
        )}
      </div>
      <Data query={query}>
        {({items}) =>
          items.length ? (
            <Table<Link>
              size="small"
              rowKey={(l) => `${l.issuer} ${l.subject}`}
              dataSource={items}
              pagination={false}
              scroll={{x: 'max-content'}}
              columns={[
                {title: t('user.subject'), dataIndex: 'subject', className: 'mono'},
                {title: t('oidc.issuer'), dataIndex: 'issuer', className: 'mono'},
              ]}
            />
          ) : (
            <p className="panel-pad dim">{t('user.links.none')}</p>
          )
        }
      </Data>
      {writes && (
        <Form form={form} layout="inline" className="panel-pad" onFinish={(v: {subject: string}) => void change(() => put(path, {subject: v.subject.trim()}), t('user.linked'))}>
          <Form.Item name="subject" rules={[{required: true, whitespace: true, message: t('form.required')}]}>
            <Input className="mono" style={{width: 280}} placeholder={t('user.subject')} aria-label={t('user.subject')} maxLength={LONGEST} spellCheck={false} autoComplete="off" />
          </Form.Item>
          <Button htmlType="submit" loading={busy}>
            {t('user.link')}
          </Button>
        </Form>
      )}
    </section>
  );
}
