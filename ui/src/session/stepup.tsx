// SPDX-License-Identifier: Apache-2.0
// An act that needs a fresh second factor waits until this dialog has got one.
import {App, Button, Modal, Space, Typography} from 'antd';
import {useNavigate} from 'react-router-dom';

import {call} from '../api/client';
import {fetchSession} from '../api/session';
import type {Session} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {ABOVE} from './above';
import {Factor} from './factor';
import type {AssertionOptions} from './webauthn';

interface Props {
  methods: string[];
  /** Second factors that the account has. */
  own: string[];
  verb: string;
  onEnd: (session: Session | null) => void;
}

export function StepUpDialog({methods, own, verb, onEnd}: Props) {
  const {t, td} = useI18n();
  const navigate = useNavigate();
  const {message} = App.useApp();
  const usable = methods.filter((m) => m === 'password' || own.includes(m));
  return (
    <Modal open zIndex={ABOVE} title={t('stepup.title')} footer={null} width={400} onCancel={() => onEnd(null)} destroyOnHidden>
      <Space direction="vertical" size="middle" className="fill">
        <Typography.Text>{t('stepup.text', {act: td(`verb.${verb}`, verb || t('top.me'))})}</Typography.Text>
        {methods.includes('oidc') && (
          <Button
            block
            onClick={() =>
              void call<{oidc: {url: string}}>('POST', 'session/step-up', {body: {method: 'oidc'}, quiet: true})
                .then(({oidc}) => location.assign(oidc.url))
                .catch((e: unknown) => message.error(e instanceof Error ? e.message : String(e)))
            }
          >
            {t('stepup.oidc')}
          </Button>
        )}
        {usable.length ? (
          <Factor
            methods={usable}
            begin={async () =>
              (await call<{webauthn: AssertionOptions}>('POST', 'session/step-up', {body: {method: 'webauthn'}, quiet: true})).webauthn
            }
            send={async (answer) => {
              await call('POST', 'session/step-up', {body: answer, quiet: true});
              onEnd(await fetchSession());
            }}
          />
        ) : methods.includes('oidc') ? null : (
          <>
            <Typography.Text type="warning">{t('stepup.none')}</Typography.Text>
            <Button
              type="primary"
              block
              onClick={() => {
                onEnd(null);
                navigate('/me');
              }}
            >
              {t('stepup.enrol')}
            </Button>
          </>
        )}
      </Space>
    </Modal>
  );
}
