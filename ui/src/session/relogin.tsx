// SPDX-License-Identifier: Apache-2.0
// The session has ended while somebody works here: the page stays as it is under this dialog.
import {Modal, Space, Typography} from 'antd';

import type {Session} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {ABOVE} from './above';
import {Credentials} from './credentials';

export function ReloginDialog({user, onEnd}: {user: string; onEnd: (session: Session | null) => void}) {
  const {t} = useI18n();
  return (
    <Modal open zIndex={ABOVE} title={t('relogin.title')} footer={null} width={380} maskClosable={false} keyboard={false} onCancel={() => onEnd(null)} destroyOnHidden>
      <Space direction="vertical" size="middle" className="fill">
        <Typography.Text>{t('relogin.text', {user})}</Typography.Text>
        <Credentials user={user} onDone={onEnd} />
      </Space>
    </Modal>
  );
}
