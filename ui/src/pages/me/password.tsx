// SPDX-License-Identifier: Apache-2.0
// One's own password. Whoever else is logged in with it is not any more.
import {Button, Form, Input} from 'antd';

import {call} from '../../api/client';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {useSession} from '../../session/session';

const LONG_ENOUGH = 12;

interface Fields {
  old: string;
  password: string;
  again: string;
}

export default function Password() {
  const {t} = useI18n();
  const {session, reload} = useSession();
  const {busy, run} = useAct();
  const [form] = Form.useForm<Fields>();
  const required = {required: true, message: t('form.required')};
  const change = async (v: Fields): Promise<void> => {
    const done = await run(() => call('POST', 'me/password', {body: {old: v.old, new: v.password}, quiet: true}).then(reload), t('user.password-set'));
    if (done) {
      form.resetFields();
    }
  };
  return (
    <Form<Fields> form={form} layout="vertical" className="narrow" requiredMark={false} onFinish={(v) => void change(v)}>
      <input type="text" name="username" autoComplete="username" value={session.user} readOnly hidden />
      <Form.Item name="old" label={t('me.password.old')} rules={[required]}>
        <Input.Password autoFocus={session.must_change ?? false} autoComplete="current-password" maxLength={1024} />
      </Form.Item>
      <Form.Item name="password" label={t('me.password.new')} rules={[required, {min: LONG_ENOUGH, message: t('user.password.rule')}]} extra={t('user.password.rule')}>
        <Input.Password autoComplete="new-password" maxLength={1024} />
      </Form.Item>
      <Form.Item
        name="again"
        label={t('me.password.again')}
        dependencies={['password']}
        rules={[
          required,
          ({getFieldValue}) => ({
            validator: (_, v) => (v === getFieldValue('password') ? Promise.resolve() : Promise.reject(new Error(t('me.password.differ')))),
          }),
        ]}
      >
        <Input.Password autoComplete="new-password" maxLength={1024} />
      </Form.Item>
      <Button htmlType="submit" type="primary" loading={busy}>
        {t('me.password.change')}
      </Button>
    </Form>
  );
}
