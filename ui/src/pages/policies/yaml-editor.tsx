// SPDX-License-Identifier: Apache-2.0
// CodeMirror with the policy language: words of the language, names and labels that exist, mistakes at their line.
import {autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap} from '@codemirror/autocomplete';
import {defaultKeymap, history, historyKeymap, indentWithTab} from '@codemirror/commands';
import {yaml} from '@codemirror/lang-yaml';
import {bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting} from '@codemirror/language';
import {lintGutter, lintKeymap, setDiagnostics, type Diagnostic} from '@codemirror/lint';
import {highlightSelectionMatches, searchKeymap} from '@codemirror/search';
import {Compartment, EditorState} from '@codemirror/state';
import {drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers} from '@codemirror/view';
import {tags} from '@lezer/highlight';
import {useEffect, useRef} from 'react';

import {nonce} from '../../app/nonce';
import {MONO, useTheme} from '../../app/theme';
import {completions, type World} from './completion';

export interface Mistake {
  message: string;
  line: number;
  column: number;
  severity: 'error' | 'warning';
}

interface Props {
  value: string;
  onChange: (value: string) => void;
  mistakes: Mistake[];
  world: World;
  label: string;
  readOnly?: boolean;
  /** Ctrl S */
  onSave?: () => void;
}

const colors = (dark: boolean): HighlightStyle =>
  HighlightStyle.define([
    {tag: [tags.propertyName, tags.definition(tags.propertyName)], color: dark ? '#79b8ff' : '#1f5f9e'},
    {tag: tags.string, color: dark ? '#a5d6a7' : '#276749'},
    {tag: [tags.number, tags.bool, tags.null], color: dark ? '#f6bd75' : '#975a16'},
    {tag: tags.comment, color: dark ? '#76818d' : '#7b8794', fontStyle: 'italic'},
    {tag: [tags.punctuation, tags.separator, tags.meta], color: dark ? '#8b96a3' : '#52606d'},
  ]);

const look = (dark: boolean) => [
  EditorView.theme(
    {
      '&': {backgroundColor: 'transparent', color: 'var(--text)'},
      '.cm-scroller': {fontFamily: MONO, lineHeight: '1.55'},
      '.cm-gutters': {backgroundColor: 'transparent', color: 'var(--dim)', border: 'none'},
      '.cm-activeLine, .cm-activeLineGutter': {backgroundColor: dark ? '#ffffff0a' : '#0000000a'},
      '.cm-tooltip': {backgroundColor: 'var(--panel)', color: 'var(--text)', border: '1px solid var(--line)', borderRadius: '5px'},
      '.cm-tooltip-autocomplete ul li[aria-selected]': {backgroundColor: 'var(--accent)', color: '#fff'},
      '.cm-selectionBackground, &.cm-focused .cm-selectionBackground': {backgroundColor: dark ? '#2b4a6b !important' : '#cfe3f7 !important'},
      '.cm-cursor': {borderLeftColor: 'var(--text)'},
    },
    {dark},
  ),
  syntaxHighlighting(colors(dark)),
];

function place(state: EditorState, mistake: Mistake): Diagnostic {
  const line = state.doc.line(Math.min(Math.max(mistake.line, 1), state.doc.lines));
  const from = Math.min(line.from + Math.max(mistake.column - 1, 0), line.to);
  return {from, to: Math.max(from, line.to), message: mistake.message, severity: mistake.severity};
}

export default function YamlEditor({value, onChange, mistakes, world, label, readOnly = false, onSave}: Props) {
  const {dark} = useTheme();
  const parent = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const theme = useRef(new Compartment());
  // what the editor calls is always the newest, the editor itself stays
  const latest = useRef({onChange, onSave, world});
  latest.current = {onChange, onSave, world};

  useEffect(() => {
    if (!parent.current) {
      return undefined;
    }
    const editor = new EditorView({
      parent: parent.current,
      state: EditorState.create({
        doc: value,
        extensions: [
          EditorView.cspNonce.of(nonce),
          lineNumbers(),
          highlightActiveLine(),
          highlightActiveLineGutter(),
          drawSelection(),
          history(),
          bracketMatching(),
          closeBrackets(),
          indentOnInput(),
          highlightSelectionMatches(),
          yaml(),
          lintGutter(),
          autocompletion({override: [(context) => completions(context, latest.current.world)]}),
          keymap.of([
            {
              key: 'Mod-s',
              preventDefault: true,
              run: () => {
                latest.current.onSave?.();
                return true;
              },
            },
            ...closeBracketsKeymap,
            ...completionKeymap,
            ...lintKeymap,
            ...searchKeymap,
            ...historyKeymap,
            ...defaultKeymap,
            indentWithTab,
          ]),
          theme.current.of(look(dark)),
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({'aria-label': label}),
          EditorView.updateListener.of((u) => {
            if (u.docChanged) {
              latest.current.onChange(u.state.doc.toString());
            }
          }),
        ],
      }),
    });
    view.current = editor;
    return () => {
      editor.destroy();
      view.current = null;
    };
    // made once: value and theme come in by the effects below
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) {
      editor.dispatch({changes: {from: 0, to: editor.state.doc.length, insert: value}});
    }
  }, [value]);
  useEffect(() => view.current?.dispatch({effects: theme.current.reconfigure(look(dark))}), [dark]);
  useEffect(() => {
    const editor = view.current;
    if (editor) {
      editor.dispatch(
        setDiagnostics(
          editor.state,
          mistakes.map((m) => place(editor.state, m)),
        ),
      );
    }
  }, [mistakes]);

  return <div ref={parent} />;
}
