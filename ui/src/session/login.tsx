// SPDX-License-Identifier: Apache-2.0
import {useEffect, useState} from 'react';

import {call} from '../api/client';
import type {Session} from '../api/types';
import {useI18n} from '../i18n/i18n';
import {Waiting} from '../parts/waiting';
import {Credentials} from './credentials';
import {Door} from './door';
import {SingleSignOn, type Provider} from './sso';

/** How one can log in here; and what is still owed by who has come back from the provider. */
interface Ways {
  oidc?: Provider | null;
  need?: string[];
}

export function LoginPage({onDone}: {onDone: (session: Session) => void}) {
  const {t} = useI18n();
  const [ways, setWays] = useState<Ways | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    call<Ways>('GET', 'login', {quiet: true, signal: abort.signal}).then(setWays, () => {
      if (!abort.signal.aborted) {
        setWays({}); // the password is asked for in any case, and its refusal says what is wrong
      }
    });
    return () => abort.abort();
  }, []);
  return (
    <Door title={t('login.title')}>
      {ways ? (
        <>
          <Credentials onDone={onDone} owed={ways.need} />
          {ways.oidc && !ways.need?.length && <SingleSignOn provider={ways.oidc} />}
        </>
      ) : (
        <Waiting />
      )}
    </Door>
  );
}
