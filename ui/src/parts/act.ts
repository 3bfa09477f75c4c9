// SPDX-License-Identifier: Apache-2.0
// Doing something: busy meanwhile, told when it is done, what was refused shown with its reason.
import {App} from 'antd';
import {createElement, useCallback, useState} from 'react';

import {useI18n} from '../i18n/i18n';
import {Failure} from './failure';

interface Act {
  busy: boolean;
  /** True when it was done. */
  run: (work: () => Promise<unknown>, done?: string) => Promise<boolean>;
}

export function useAct(): Act {
  const {message, modal} = App.useApp();
  const {t} = useI18n();
  const [busy, setBusy] = useState(false);
  const run = useCallback<Act['run']>(
    async (work, done) => {
      setBusy(true);
      try {
        await work();
        if (done) {
          void message.success(done);
        }
        return true;
      } catch (error) {
        const shown = modal.error({
          icon: null,
          title: t('error.act'),
          content: createElement(Failure, {error, compact: true, onLeave: () => shown.destroy()}),
          width: 520,
          okText: t('action.close'),
        });
        return false;
      } finally {
        setBusy(false);
      }
    },
    [message, modal, t],
  );
  return {busy, run};
}
