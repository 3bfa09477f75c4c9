// SPDX-License-Identifier: Apache-2.0
// What stands around every page: contents on the left, a place to jump from, who is logged in.
import {LogoutOutlined, MenuOutlined, SearchOutlined, UserOutlined} from '@ant-design/icons';
import {App, Button, Drawer, Dropdown, Layout, Menu, type MenuProps} from 'antd';
import {useEffect, useMemo, useState} from 'react';
import {Link, Outlet, useLocation, useNavigate} from 'react-router-dom';

import {useI18n} from '../i18n/i18n';
import {useNarrow} from '../parts/narrow';
import {useSession} from '../session/session';
import {CommitBanner} from './commit-banner';
import {Jump} from './jump';
import {itemOf, NAV} from './nav';
import {LanguageSwitch, ThemeSwitch} from './switches';

function Contents({onChosen}: {onChosen?: () => void}) {
  const {t} = useI18n();
  const {may} = useSession();
  const {pathname} = useLocation();
  const items = useMemo<MenuProps['items']>(
    () =>
      NAV.map((group) => ({
        key: group.label,
        type: 'group' as const,
        label: t(group.label),
        children: group.items
          .filter((i) => !i.verbs || i.verbs.some((v) => may(v)))
          .map((i) => ({key: i.path, icon: i.icon, label: <Link to={i.path}>{t(i.label)}</Link>})),
      })).filter((g) => g.children.length),
    [t, may],
  );
  const current = pathname.startsWith('/vms/') ? '/inventory' : itemOf(pathname)?.path;
  return (
    <nav aria-label={t('nav.label')}>
      <Menu mode="inline" items={items} selectedKeys={current ? [current] : []} onClick={onChosen} />
    </nav>
  );
}

function Person() {
  const {t} = useI18n();
  const {session, logout} = useSession();
  const {message} = App.useApp();
  const navigate = useNavigate();
  const end = (): void => void logout().catch((e: unknown) => message.error(e instanceof Error ? e.message : String(e)));
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        items: [
          {key: 'me', icon: <UserOutlined />, label: t('top.me'), onClick: () => navigate('/me')},
          {type: 'divider'},
          {key: 'out', icon: <LogoutOutlined />, label: t('top.logout'), onClick: end},
        ],
      }}
    >
      <Button type="text" icon={<UserOutlined />} className="top-person">
        <span className="top-name">{session.name || session.user}</span>
      </Button>
    </Dropdown>
  );
}

export function Shell() {
  const {t} = useI18n();
  const narrow = useNarrow();
  const [open, setOpen] = useState(false);
  const [jumping, setJumping] = useState(false);

  useEffect(() => {
    const pressed = (e: KeyboardEvent): void => {
      if ((e.ctrlKey || e.metaKey) && e.key === 'k') {
        e.preventDefault();
        setJumping(true);
      }
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, []);

  return (
    <Layout className="shell" hasSider={!narrow}>
      <a className="skip" href="#page">
        {t('top.skip')}
      </a>
      {!narrow && (
        <Layout.Sider width={204} className="side" theme="light">
          <Link to="/" className="brand">
            <img src="/bulkhead.svg" alt="" width={24} height={24} />
            {t('app.name')}
          </Link>
          <Contents />
        </Layout.Sider>
      )}
      <Drawer open={narrow && open} onClose={() => setOpen(false)} placement="left" width={240} title={t('app.name')} className="side-drawer">
        <Contents onChosen={() => setOpen(false)} />
      </Drawer>
      <Layout className="main">
        <header className="top">
          {narrow && <Button type="text" icon={<MenuOutlined />} onClick={() => setOpen(true)} aria-label={t('nav.label')} />}
          <Button className="top-jump" icon={<SearchOutlined />} onClick={() => setJumping(true)}>
            <span className="top-jump-text">{t('jump.button')}</span>
            <kbd>Ctrl K</kbd>
          </Button>
          <div className="top-right">
            <LanguageSwitch />
            <ThemeSwitch />
            <Person />
          </div>
        </header>
        <CommitBanner />
        <main className="page-place" id="page" tabIndex={-1}>
          <Outlet />
        </main>
      </Layout>
      <Jump open={jumping} onClose={() => setJumping(false)} />
    </Layout>
  );
}
