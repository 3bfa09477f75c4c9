// SPDX-License-Identifier: Apache-2.0
import {BgColorsOutlined, GlobalOutlined} from '@ant-design/icons';
import {Button, Dropdown} from 'antd';

import {useI18n} from '../i18n/i18n';
import {LOCALES} from '../i18n/text';
import type {Locale} from '../i18n/format';
import {useTheme, type ThemeChoice} from './theme';

export function LanguageSwitch() {
  const {t, locale, setLocale} = useI18n();
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        items: LOCALES.map((l) => ({key: l.locale, label: l.name})),
        selectable: true,
        selectedKeys: [locale],
        onClick: ({key}) => setLocale(key as Locale),
      }}
    >
      <Button type="text" icon={<GlobalOutlined />} aria-label={t('top.language')} title={t('top.language')} />
    </Dropdown>
  );
}

export function ThemeSwitch() {
  const {t} = useI18n();
  const {choice, setChoice} = useTheme();
  const choices: ThemeChoice[] = ['system', 'light', 'dark'];
  return (
    <Dropdown
      trigger={['click']}
      menu={{
        items: choices.map((key) => ({key, label: t(`theme.${key}`)})),
        selectable: true,
        selectedKeys: [choice],
        onClick: ({key}) => setChoice(key as ThemeChoice),
      }}
    >
      <Button type="text" icon={<BgColorsOutlined />} aria-label={t('top.theme')} title={t('top.theme')} />
    </Dropdown>
  );
}
