// SPDX-License-Identifier: Apache-2.0
// For which acts a second person has to agree.
import {Alert, Button, Table} from 'antd';
import {useEffect, useState} from 'react';

import {put} from '../../api/client';
import {useApi, useRefresh} from '../../api/queries';
import type {Right} from '../../api/types';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';
import {Data} from '../../parts/data';
import {useSession} from '../../session/session';

export function Approvals() {
  const {t, td} = useI18n();
  const {may} = useSession();
  const {busy, run} = useAct();
  const refresh = useRefresh();
  const query = useApi<{verbs: string[]}>('settings/approvals');
  const rights = useApi<{rights: Right[]}>('rights');
  const [chosen, setChosen] = useState<string[] | null>(null);
  useEffect(() => setChosen(null), [query.data]);
  const selected = chosen ?? query.data?.verbs ?? [];
  return (
    <div className="stack">
      <Alert type="info" showIcon message={t('approvals.text')} />
      <Data query={query}>
        {() => (
          <>
            <Table<Right>
              scroll={{x: 'max-content'}}
              size="small"
              rowKey="verb"
              pagination={false}
              dataSource={(rights.data?.rights ?? []).filter((r) => !r.reads && !r.verb.startsWith('request.'))}
              rowSelection={{
                selectedRowKeys: selected,
                onChange: (keys) => setChosen(keys.map(String)),
                getCheckboxProps: () => ({disabled: !may('settings.write')}),
              }}
              columns={[
                {title: t('user.right'), dataIndex: 'verb', className: 'mono'},
                {title: t('approvals.what'), render: (_, r) => td(`verb.${r.verb}`, r.words ?? '')},
              ]}
            />
            {may('settings.write') && (
              <div>
                <Button
                  type="primary"
                  disabled={chosen === null}
                  loading={busy}
                  onClick={() =>
                    void run(async () => {
                      await put('settings/approvals', {verbs: selected});
                      await refresh('settings');
                    }, t('settings.saved'))
                  }
                >
                  {t('action.save')}
                </Button>
              </div>
            )}
          </>
        )}
      </Data>
    </div>
  );
}
