// SPDX-License-Identifier: Apache-2.0
// A question before an act, with the reason for it: what goes on record.
import {App, Input} from 'antd';
import {useCallback, type ReactNode} from 'react';

import {useI18n} from '../i18n/i18n';

interface Question {
  title: string;
  text?: ReactNode;
  ok: string;
  danger?: boolean;
  /** An act that nobody can take back: its object's name has to be typed. */
  typed?: string;
  /** The manager wants a reason. */
  needed?: boolean;
}

const LONGEST = 256;

/** Asks, then does `work` with the reason that was given; the dialog stays while that goes on. */
export function useAskReason(): (question: Question, work: (reason: string) => Promise<unknown>) => void {
  const {t} = useI18n();
  const {modal} = App.useApp();
  return useCallback(
    ({title, text, ok, danger, typed, needed}, work) => {
      let reason = '';
      let name = '';
      const ready = (): boolean => (!needed || reason.trim() !== '') && (typed === undefined || name === typed);
      const dialog = modal.confirm({
        title,
        icon: null,
        width: 480,
        content: (
          <div className="stack">
            {text && <div className="wrap">{text}</div>}
            {typed !== undefined && (
              <label className="asked">
                <span>{t('ask.type', {name: typed})}</span>
                <Input autoFocus spellCheck={false} autoComplete="off" placeholder={typed} onChange={(e) => changed(() => (name = e.target.value))} />
              </label>
            )}
            <label className="asked">
              <span>{needed ? t('form.reason') : t('ask.reason')}</span>
              <Input.TextArea autoFocus={typed === undefined} rows={2} maxLength={LONGEST} onChange={(e) => changed(() => (reason = e.target.value))} />
            </label>
          </div>
        ),
        okText: ok,
        okButtonProps: {danger: danger ?? false, disabled: !ready()},
        onOk: () => work(reason.trim()),
      });
      const changed = (take: () => void): void => {
        take();
        dialog.update({okButtonProps: {danger: danger ?? false, disabled: !ready()}});
      };
    },
    [modal, t],
  );
}
