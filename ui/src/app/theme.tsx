// SPDX-License-Identifier: Apache-2.0
// Light, dark, or as the system says; and what Ant Design makes of it.
import {App as AntApp, ConfigProvider, theme as antTheme, type ThemeConfig} from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
import {createContext, useContext, useEffect, useMemo, useState, type ReactNode} from 'react';

import {useI18n} from '../i18n/i18n';
import {nonce} from './nonce';

export type ThemeChoice = 'system' | 'light' | 'dark';

interface Theme {
  choice: ThemeChoice;
  setChoice: (choice: ThemeChoice) => void;
  dark: boolean;
}

const KEPT = 'bulkhead.theme';
const Context = createContext<Theme>({choice: 'system', setChoice: () => undefined, dark: false});

const FONT =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "WenQuanYi Micro Hei", sans-serif';
export const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace';

/** Who wants nothing to move gets nothing that moves; popups would be placed by where they come from, were it left to CSS alone. */
const STILL = matchMedia('(prefers-reduced-motion: reduce)').matches;

function config(dark: boolean): ThemeConfig {
  return {
    algorithm: dark ? antTheme.darkAlgorithm : antTheme.defaultAlgorithm,
    token: {
      colorPrimary: dark ? '#4c8fd6' : '#2b6cb0',
      colorInfo: dark ? '#4c8fd6' : '#2b6cb0',
      colorSuccess: dark ? '#3f9d5f' : '#2f855a',
      colorWarning: dark ? '#d69e2e' : '#b7791f',
      colorError: dark ? '#e2625d' : '#c53030',
      colorBgLayout: dark ? '#0e1116' : '#f4f6f8',
      colorBgContainer: dark ? '#161b22' : '#ffffff',
      colorBgElevated: dark ? '#1c222b' : '#ffffff',
      colorBorderSecondary: dark ? '#262d37' : '#e6eaee',
      colorSuccessBg: dark ? '#13291c' : '#e7f5ec',
      colorSuccessBorder: dark ? '#24573a' : '#b5dcc3',
      colorWarningBg: dark ? '#2c2412' : '#fdf5e0',
      colorWarningBorder: dark ? '#5f4a1b' : '#ecd59c',
      colorErrorBg: dark ? '#301a1b' : '#fdeeee',
      colorErrorBorder: dark ? '#633030' : '#f0bcbc',
      colorInfoBg: dark ? '#14263b' : '#e9f1fa',
      colorInfoBorder: dark ? '#274a70' : '#bcd5ee',
      colorPrimaryBg: dark ? '#172a40' : '#e7f0f9',
      colorTextPlaceholder: dark ? '#808a95' : '#6b7580',
      fontSizeSM: 12,
      borderRadius: 5,
      fontSize: 13,
      controlHeight: 30,
      fontFamily: FONT,
      fontFamilyCode: MONO,
      motion: !STILL,
      motionDurationMid: '0.12s',
      motionDurationSlow: '0.18s',
    },
    components: {
      Table: {cellPaddingBlockSM: 6, cellPaddingInlineSM: 10, headerBg: 'transparent', headerSplitColor: 'transparent'},
      Menu: {itemHeight: 34, itemMarginInline: 6, itemBorderRadius: 5, itemBg: 'transparent', subMenuItemBg: 'transparent', activeBarBorderWidth: 0},
      Card: {bodyPaddingSM: 14, headerHeightSM: 40},
      Descriptions: {itemPaddingBottom: 6},
      Tag: {defaultBg: dark ? '#222a35' : '#eef1f4'},
    },
  };
}

export function ThemeProvider({children}: {children: ReactNode}) {
  const {locale} = useI18n();
  const [choice, setKept] = useState<ThemeChoice>(() => (localStorage.getItem(KEPT) as ThemeChoice | null) ?? 'system');
  const [systemDark, setSystemDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  const dark = choice === 'dark' || (choice === 'system' && systemDark);

  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)');
    const changed = (): void => setSystemDark(media.matches);
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, []);
  useEffect(() => {
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }, [dark]);

  const value = useMemo<Theme>(
    () => ({
      choice,
      dark,
      setChoice: (c) => {
        localStorage.setItem(KEPT, c);
        setKept(c);
      },
    }),
    [choice, dark],
  );
  const theme = useMemo(() => config(dark), [dark]);

  return (
    <Context.Provider value={value}>
      <ConfigProvider theme={theme} locale={locale === 'zh-CN' ? zhCN : enUS} csp={{nonce}} componentSize="middle" button={{autoInsertSpace: false}}>
        <AntApp className="app">{children}</AntApp>
      </ConfigProvider>
    </Context.Provider>
  );
}

export const useTheme = (): Theme => useContext(Context);
