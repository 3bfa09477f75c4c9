// SPDX-License-Identifier: Apache-2.0
// A second factor: an app that makes codes (TOTP), a security key, and the recovery codes for when both are lost.
import {KeyOutlined} from '@ant-design/icons';
import {Alert, Button, Form, Input, Popconfirm, QRCode, Space, Steps, Table, Tag, Typography} from 'antd';
import {useState} from 'react';

import {call, del, part, post, setCsrf} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';
import {canWebauthn, creation, type CreationOptions} from '../../session/webauthn';

/** So few recovery codes that new ones should be made. */
const FEW = 3;

interface Totp {
  secret: string;
  uri: string;
}

function Recovery({codes, onDone}: {codes: string[]; onDone: () => void}) {
  const {t} = useI18n();
  return (
    <div className="stack">
      <Alert type="warning" showIcon message={t('me.recovery.once')} description={t('me.recovery.text')} />
      <pre className="code recovery">{codes.join('\n')}</pre>
      <Space>
        <Typography.Paragraph copyable={{text: codes.join('\n'), tooltips: [t('action.copy'), t('action.copied')]}} className="inline">
          {t('action.copy')}
        </Typography.Paragraph>
        <Button type="primary" onClick={onDone}>
          {t('me.recovery.kept')}
        </Button>
      </Space>
    </div>
  );
}

function RecoveryLeft() {
  const {tn} = useI18n();
  const query = useApi<{recovery_left?: number}>('me/factors');
  const left = query.data?.recovery_left;
  return left === undefined ? null : <span className={left < FEW ? 'warn' : 'dim'}>{tn('me.recovery.left', left)}</span>;
}

function EnrolTotp({begun, onBegin, onDone}: {begun: boolean; onBegin: () => void; onDone: () => void}) {
  const {t} = useI18n();
  const {busy, run} = useAct();
  const [totp, setTotp] = useState<Totp | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);
  const begin = (): Promise<boolean> =>
    run(async () => {
      setTotp(await post<Totp>('me/totp', {}));
      onBegin();
    });
  const confirm = ({code}: {code: string}): Promise<boolean> =>
    run(async () => {
      const answer = await call<{recovery: string[]; csrf?: string}>('POST', 'me/totp:confirm', {body: {code: code.trim()}, quiet: true});
      if (answer.csrf) {
        setCsrf(answer.csrf); // the session is another one from here on
      }
      setCodes(answer.recovery);
    }, t('me.totp.on'));
  const step = codes ? 2 : totp ? 1 : 0;
  return (
    <div className="stack">
      {(begun || codes) && <Steps size="small" responsive={false} current={step} items={[{title: t('me.totp.begin')}, {title: t('me.totp.scan')}, {title: t('me.recovery')}]} />}
      {step === 0 && (
        <div>
          <p>{t('me.totp.text')}</p>
          <Button type="primary" loading={busy} onClick={() => void begin()}>
            {t('me.totp.start')}
          </Button>
        </div>
      )}
      {step === 1 && totp && (
        <div className="totp">
          <div className="qr" role="img" aria-label={t('me.totp.qr')}>
            <QRCode value={totp.uri} type="svg" size={184} bordered={false} color="#000000" bgColor="#ffffff" />
          </div>
          <div className="stack">
            <p>{t('me.totp.scan.text')}</p>
            <Typography.Text code copyable className="wrap">
              {totp.secret}
            </Typography.Text>
            <Form layout="inline" onFinish={(v: {code: string}) => void confirm(v)}>
              <Form.Item name="code" rules={[{required: true, message: t('form.required')}]}>
                <Input className="code-input" inputMode="numeric" autoComplete="one-time-code" maxLength={8} placeholder="000000" aria-label={t('factor.totp.label')} />
              </Form.Item>
              <Button type="primary" htmlType="submit" loading={busy}>
                {t('factor.confirm')}
              </Button>
            </Form>
          </div>
        </div>
      )}
      {step === 2 && codes && <Recovery codes={codes} onDone={onDone} />}
    </div>
  );
}

interface SecurityKey {
  id: string;
  name: string;
  created?: string;
  used?: string | null;
}

interface Confirmed {
  csrf?: string;
  /** Of a first factor. */
  recovery?: string[];
}

function AddKey({onAdded}: {onAdded: (codes: string[] | undefined) => void}) {
  const {t} = useI18n();
  const {busy, run} = useAct();
  const add = ({name}: {name: string}): void =>
    void run(async () => {
      const options = await post<CreationOptions>('me/webauthn', {});
      const {csrf, recovery} = await call<Confirmed>('POST', 'me/webauthn:confirm', {body: {name, ...(await creation(options))}, quiet: true});
      if (csrf) {
        setCsrf(csrf);
      }
      onAdded(recovery?.length ? recovery : undefined);
    }, t('me.key.added'));
  return (
    <Form layout="inline" onFinish={add}>
      <Form.Item name="name" rules={[{required: true, message: t('form.required')}]}>
        <Input placeholder={t('me.key.name')} aria-label={t('me.key.name')} maxLength={60} />
      </Form.Item>
      <Button htmlType="submit" icon={<KeyOutlined />} loading={busy}>
        {t('me.key.add')}
      </Button>
    </Form>
  );
}

function Keys({onChange}: {onChange: (codes?: string[]) => void}) {
  const {t} = useI18n();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const query = useApi<{webauthn?: SecurityKey[]}>('me/factors');
  const items = query.data?.webauthn ?? [];
  const changed = async (codes?: string[]): Promise<void> => {
    await refresh('me/factors');
    onChange(codes);
  };
  return (
    <section className="stack">
      <h2 className="part-head">{t('me.keys')}</h2>
      <span className="dim">{t('me.keys.text')}</span>
      {items.length > 0 && (
        <Table<SecurityKey>
          size="small"
          rowKey="id"
          pagination={false}
          dataSource={items}
          scroll={{x: 'max-content'}}
          columns={[
            {title: t('me.key.name'), dataIndex: 'name'},
            {title: t('user.created'), render: (_, k) => <Time at={k.created} />},
            {title: t('token.used'), render: (_, k) => <Time at={k.used} />},
            {
              key: 'act',
              align: 'right',
              render: (_, k) => (
                <Popconfirm title={t('me.key.remove.sure', {name: k.name})} onConfirm={() => run(() => del(`me/webauthn/${part(k.id)}`).then(() => changed()), t('me.key.removed'))}>
                  <Button size="small" danger type="text" loading={busy}>
                    {t('action.remove')}
                  </Button>
                </Popconfirm>
              ),
            },
          ]}
        />
      )}
      {canWebauthn() ? <AddKey onAdded={(codes) => void changed(codes)} /> : <span className="warn">{t('me.keys.cannot')}</span>}
    </section>
  );
}

export default function Factors() {
  const {t} = useI18n();
  const {session, reload} = useSession();
  const {busy, run} = useAct();
  const [enrolling, setEnrolling] = useState(false);
  const [codes, setCodes] = useState<string[] | null>(null);
  const methods = session.second_factor?.methods ?? [];
  const has = methods.includes('totp');
  const done = (): void => {
    setEnrolling(false);
    setCodes(null);
    void reload();
  };
  const keyChanged = (recovery?: string[]): void => {
    if (recovery) {
      setCodes(recovery);
    } else {
      void reload();
    }
  };
  if (codes) {
    return <Recovery codes={codes} onDone={done} />;
  }
  return (
    <div className="stack factors">
      <section className="stack">
        <h2 className="part-head">{t('me.app')}</h2>
        {has ? (
          <Space wrap>
            <Tag color="success" bordered={false}>
              {t('me.app.on')}
            </Tag>
            <Popconfirm
              title={t('me.totp.remove.sure')}
              onConfirm={() =>
                run(async () => {
                  await del('me/totp');
                  await reload();
                }, t('me.totp.off'))
              }
            >
              <Button size="small" danger type="text" loading={busy}>
                {t('me.totp.remove')}
              </Button>
            </Popconfirm>
          </Space>
        ) : (
          <EnrolTotp begun={enrolling} onBegin={() => setEnrolling(true)} onDone={done} />
        )}
      </section>
      <Keys onChange={keyChanged} />
      {methods.length > 0 && (
        <section className="stack">
          <h2 className="part-head">{t('me.recovery')}</h2>
          <RecoveryLeft />
          <div>
            <Button loading={busy} onClick={() => void run(async () => setCodes((await post<{recovery: string[]}>('me/recovery', {})).recovery))}>
              {t('me.recovery.new')}
            </Button>
          </div>
        </section>
      )}
    </div>
  );
}
