// SPDX-License-Identifier: Apache-2.0
// Where somebody is logged in, and ending that.
import {Button, Table, Tag} from 'antd';

import {del, part} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {Nothing} from '../../parts/empty';
import {Time} from '../../parts/show';

interface OpenSession {
  id: string | number;
  user: string;
  address: string;
  agent: string | null;
  factor?: string;
  created: string;
  used: string;
  current?: boolean;
}

export function SessionTable({user}: {user?: string}) {
  const {t, td} = useI18n();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const query = useApi<{items: OpenSession[]}>('sessions', {limit: 1000}, {every: CALM});
  return (
    <Data query={query}>
      {({items: all}) => {
        const items = all.filter((s) => !user || s.user === user);
        return items.length ? (
          <Table<OpenSession>
            size="small"
            rowKey="id"
            pagination={false}
            scroll={{x: 'max-content'}}
            dataSource={items}
            columns={[
              ...(user ? [] : [{title: t('login.user'), dataIndex: 'user'}]),
              {title: t('audit.from'), dataIndex: 'address', className: 'mono'},
              {title: t('me.agent'), dataIndex: 'agent', ellipsis: true, width: 320},
              {title: t('audit.factor'), render: (_, s) => td(`factor.${s.factor ?? ''}`, s.factor ?? '')},
              {title: t('me.begun'), render: (_, s) => <Time at={s.created} />},
              {title: t('me.seen'), render: (_, s) => <Time at={s.used} />},
              {
                key: 'act',
                align: 'right',
                render: (_, s) =>
                  s.current ? (
                    <Tag color="success">{t('me.this')}</Tag>
                  ) : (
                    <Button
                      size="small"
                      danger
                      type="text"
                      loading={busy}
                      onClick={() =>
                        void run(async () => {
                          await del(`sessions/${part(String(s.id))}`);
                          await refresh('sessions');
                        }, t('me.ended'))
                      }
                    >
                      {t('me.end')}
                    </Button>
                  ),
              },
            ]}
          />
        ) : (
          <Nothing title={t('me.sessions.none')} />
        );
      }}
    </Data>
  );
}
