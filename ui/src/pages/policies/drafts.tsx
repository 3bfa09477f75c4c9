// SPDX-License-Identifier: Apache-2.0
// Drafts that somebody has begun and not committed.
import {Button, Popconfirm, Table} from 'antd';
import {Link} from 'react-router-dom';

import {del} from '../../api/client';
import {CALM, useApi, useRefresh} from '../../api/queries';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Time} from '../../parts/show';
import {useSession} from '../../session/session';

export interface Draft {
  id: number;
  tenant: string;
  title: string;
  note?: string;
  author: string;
  version: number;
  base: number;
  created?: string;
  updated?: string;
  updated_by?: string;
  /** The revision that it became. */
  committed_in?: number;
  documents?: string;
  removes?: string[];
}

export function Drafts() {
  const {t} = useI18n();
  const {may} = useSession();
  const refresh = useRefresh();
  const {run} = useAct();
  const query = useApi<{items: Draft[]}>('drafts', undefined, {every: CALM, enabled: may('policy.write')});
  const open = (query.data?.items ?? []).filter((d) => !d.committed_in);
  if (!open.length) {
    return null;
  }
  return (
    <section className="panel" aria-label={t('draft.open')}>
      <div className="panel-head">{t('draft.open')}</div>
      <Table
        scroll={{x: 'max-content'}}
        size="small"
        rowKey="id"
        pagination={{pageSize: 5, hideOnSinglePage: true}}
        dataSource={open}
        columns={[
          {title: t('draft.title'), render: (_, d) => <Link to={`/policies/edit?draft=${d.id}`}>{d.title || t('draft.untitled', {id: String(d.id)})}</Link>},
          {title: t('vm.tenant'), dataIndex: 'tenant'},
          {title: t('draft.by'), render: (_, d) => d.updated_by ?? d.author},
          {title: t('draft.updated'), render: (_, d) => <Time at={d.updated ?? d.created} />},
          {
            key: 'act',
            align: 'right',
            render: (_, d) => (
              <Popconfirm
                title={t('draft.discard.sure')}
                onConfirm={() =>
                  run(async () => {
                    await del(`drafts/${d.id}`);
                    await refresh('drafts');
                  })
                }
              >
                <Button size="small" type="text" danger>
                  {t('draft.discard')}
                </Button>
              </Popconfirm>
            ),
          },
        ]}
      />
    </section>
  );
}
