// SPDX-License-Identifier: Apache-2.0
// Rules as recorded flows suggest them: "what does app=web talk to?"
import {App, Button, Input} from 'antd';

import {get} from '../../api/client';
import {useI18n} from '../../i18n/i18n';
import {useAct} from '../../parts/act';

interface Suggestion {
  documents: string;
  flows: number;
  covered: number;
  complete: boolean;
}

export function SuggestButton({tenant, days, onText}: {tenant: string; days: number; onText: (text: string) => void}) {
  const {t} = useI18n();
  const {modal, message} = App.useApp();
  const {busy, run} = useAct();
  const ask = (): void => {
    let selector = '';
    void modal.confirm({
      title: t('suggest.title'),
      icon: null,
      content: (
        <>
          <p>{t('suggest.text', {tenant})}</p>
          <Input className="mono" placeholder="role=web" aria-label={t('vm.labels')} onChange={(e) => (selector = e.target.value)} />
        </>
      ),
      okText: t('suggest.do'),
      onOk: () =>
        run(async () => {
          const s = await get<Suggestion>('policies:suggest', {tenant, selector: selector.trim(), days});
          if (s.documents) {
            onText(s.documents);
            void message.info(t('suggest.covered', {covered: s.covered, flows: s.flows}));
          } else {
            void message.warning(t('suggest.none'));
          }
        }),
    });
  };
  return (
    <Button onClick={ask} loading={busy}>
      {t('suggest.do')}
    </Button>
  );
}
