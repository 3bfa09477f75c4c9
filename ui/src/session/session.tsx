// SPDX-License-Identifier: Apache-2.0
// Who is logged in, and what that person may do. When the session ends while somebody works, a dialog asks for the password over the page,
// and what the page holds stays as it is; another person who logs in there gets a fresh page instead.
import {useQueryClient} from '@tanstack/react-query';
import {App} from 'antd';
import {createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode} from 'react';

import {ApiError, call, setCsrf, setPrompts} from '../api/client';
import {fetchSession, mayDo} from '../api/session';
import type {Session} from '../api/types';
import {Failure} from '../parts/failure';
import {First} from './first';
import {LoginPage} from './login';
import {ReloginDialog} from './relogin';
import {Splash} from './splash';
import {StepUpDialog} from './stepup';

interface Mine {
  session: Session;
  /** Does this person hold the verb at the tenant; without one: anywhere? What only hides buttons: the manager decides. */
  may: (verb: string, tenant?: string) => boolean;
  logout: () => Promise<void>;
  reload: () => Promise<void>;
}

const Context = createContext<Mine | null>(null);

type State = {at: 'asking'} | {at: 'out'} | {at: 'in'; session: Session} | {at: 'failed'; error: unknown};
interface Asked {
  resolve: (met: boolean) => void;
}

export function SessionProvider({children}: {children: ReactNode}) {
  const queries = useQueryClient();
  const [state, setState] = useState<State>({at: 'asking'});
  const [relogin, setRelogin] = useState<Asked | null>(null);
  const [stepUp, setStepUp] = useState<(Asked & {methods: string[]; verb: string}) | null>(null);
  const pendingLogin = useRef<Promise<boolean> | null>(null);

  const take = useCallback((session: Session) => {
    setCsrf(session.csrf ?? '');
    setState({at: 'in', session});
  }, []);

  const reload = useCallback(async () => {
    try {
      take(await fetchSession());
    } catch (error) {
      setState(error instanceof ApiError && error.status === 401 ? {at: 'out'} : {at: 'failed', error});
    }
  }, [take]);

  useEffect(() => void reload(), [reload]);

  const user = state.at === 'in' ? state.session.user : '';
  useEffect(() => {
    if (!user) {
      setPrompts(null);
      return;
    }
    setPrompts({
      // Many requests find the session ended at the same time; one dialog is for all of them.
      login: () => {
        pendingLogin.current ??= new Promise<boolean>((resolve) => setRelogin({resolve})).finally(() => {
          pendingLogin.current = null;
        });
        return pendingLogin.current;
      },
      stepUp: (methods, verb) => new Promise<boolean>((resolve) => setStepUp({resolve, methods, verb})),
    });
  }, [user]);

  const logout = useCallback(async () => {
    let there: string | null | undefined;
    try {
      there = (await call<{url: string | null} | undefined>('POST', 'logout', {quiet: true}))?.url;
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) {
        throw error;
      }
    }
    queries.clear();
    setCsrf('');
    setState({at: 'out'});
    if (there) {
      location.assign(there);
    }
  }, [queries]);

  const value = useMemo<Mine | null>(
    () =>
      state.at === 'in'
        ? {session: state.session, may: (verb, tenant) => mayDo(state.session, verb, tenant), logout, reload}
        : null,
    [state, logout, reload],
  );

  const onRelogin = (session: Session | null): void => {
    if (session && session.user !== user) {
      location.assign('/');
      return;
    }
    if (session) {
      take(session);
    }
    relogin?.resolve(session !== null);
    setRelogin(null);
    if (!session) {
      queries.clear();
      setState({at: 'out'});
    }
  };

  if (state.at === 'asking') {
    return <Splash />;
  }
  if (state.at === 'failed') {
    return <Failure error={state.error} onRetry={() => void reload()} whole />;
  }
  if (!value) {
    return <LoginPage onDone={take} />;
  }
  return (
    <Context.Provider value={value}>
      <App component={false}>
        <First>{children}</First>
      </App>
      {relogin && <ReloginDialog user={user} onEnd={onRelogin} />}
      {stepUp && (
        <StepUpDialog
          methods={stepUp.methods}
          own={value.session.second_factor?.methods ?? []}
          verb={stepUp.verb}
          onEnd={(session) => {
            if (session) {
              take(session);
            }
            stepUp.resolve(session !== null);
            setStepUp(null);
          }}
        />
      )}
    </Context.Provider>
  );
}

export function useSession(): Mine {
  const mine = useContext(Context);
  if (!mine) {
    throw new Error('useSession outside of SessionProvider');
  }
  return mine;
}
