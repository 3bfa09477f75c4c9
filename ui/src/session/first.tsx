// SPDX-License-Identifier: Apache-2.0
// What comes before anything else: a password of one's own when somebody else chose it, without which the manager refuses everything; and a
// second factor when one's roles hold what is never done without. The latter can wait until the next time.
import {Button} from 'antd';
import {lazy, Suspense, useState, type ReactNode} from 'react';

import {useApi} from '../api/queries';
import type {Right, Session} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {Waiting} from '../parts/waiting';
import {Door} from './door';
import {useSession} from './session';

const Password = lazy(() => import('../pages/me/password'));
const Factors = lazy(() => import('../pages/me/factors'));

const LATER = 'bulkhead.factor-later';

/** Does the session hold a right that is never used without a second factor? */
export function wantsFactor(session: Session, rights: Right[]): boolean {
  const held = new Set(Object.values(session.verbs).flat());
  return rights.some((r) => (r.factor || r.dangerous) && held.has(r.verb));
}

function LogoutButton() {
  const {t} = useI18n();
  const {logout} = useSession();
  return (
    <Button type="text" onClick={() => void logout()}>
      {t('top.logout')}
    </Button>
  );
}

export function First({children}: {children: ReactNode}) {
  const {t} = useI18n();
  const {session} = useSession();
  const [later, setLater] = useState(() => sessionStorage.getItem(LATER) === session.user);
  const without = !session.must_change && !later && session.second_factor !== undefined && !session.second_factor.methods.length;
  const rights = useApi<{rights: Right[]}>('rights', undefined, {enabled: without});

  if (session.must_change) {
    return (
      <Door title={t('first.password')} foot={<LogoutButton />}>
        <p>{t('first.password.text')}</p>
        <Suspense fallback={<Waiting />}>
          <Password />
        </Suspense>
      </Door>
    );
  }
  if (without && rights.isPending) {
    return <Waiting whole />;
  }
  if (without && wantsFactor(session, rights.data?.rights ?? [])) {
    const wait = (): void => {
      sessionStorage.setItem(LATER, session.user);
      setLater(true);
    };
    return (
      <Door
        wide
        title={t('first.factor')}
        foot={
          <>
            <Button type="text" onClick={wait}>
              {t('first.later')}
            </Button>
            <LogoutButton />
          </>
        }
      >
        <p>{t('first.factor.text')}</p>
        <Suspense fallback={<Waiting />}>
          <Factors />
        </Suspense>
      </Door>
    );
  }
  return <>{children}</>;
}
