// SPDX-License-Identifier: Apache-2.0
// Both languages say everything, with the same values in it; and no component says anything by itself.
import {readdirSync, readFileSync, statSync} from 'node:fs';
import {join} from 'node:path';
import ts from 'typescript';
import {describe, expect, it} from 'vitest';

import {en} from './en';
import {zh} from './zh';

const english: Record<string, string> = en;
const chinese: Record<string, string> = zh;
const values = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();
const SRC = join(__dirname, '..');

function* sources(dir: string): Generator<string> {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) {
      yield* sources(path);
    } else if (/\.tsx?$/.test(name) && !/\.test\.ts$/.test(name) && !path.includes(join('src', 'i18n'))) {
      yield path;
    }
  }
}

const parse = (path: string): ts.SourceFile => ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true, path.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS);

describe('catalogues', () => {
  it('have the same keys', () => {
    expect(Object.keys(chinese).sort()).toEqual(Object.keys(english).sort());
  });

  it('say each thing in one place', () => {
    for (const lang of ['en', 'zh']) {
      const keys = readdirSync(join(__dirname, lang)).flatMap((name) => [...readFileSync(join(__dirname, lang, name), 'utf8').matchAll(/^  '([^']+)':/gm)].map((m) => m[1] ?? ''));
      expect(keys.length, lang).toBe(Object.keys(english).length);
      expect(new Set(keys).size, lang).toBe(keys.length);
    }
  });

  it('put the same values into a text', () => {
    for (const [key, text] of Object.entries(english)) {
      expect(values(chinese[key] ?? ''), key).toEqual(values(text));
    }
  });

  it('say something for each key, and Chinese is Chinese', () => {
    // names and abbreviations that are the same in every language
    const same = new Set(['app.name', 'vm.uuid', 'nic.mac', 'event.kind.dhcp.', 'channel.kind.webhook']);
    for (const [key, text] of Object.entries(chinese)) {
      expect(text.trim(), key).not.toBe('');
      if (!same.has(key)) {
        expect(/[\u4e00-\u9fff]/.test(text), key).toBe(true);
      }
    }
  });

  it('have one and many together', () => {
    for (const key of Object.keys(english)) {
      if (key.endsWith('.one')) {
        expect(english[key.replace(/one$/, 'other')], key).toBeDefined();
      }
    }
  });
});

/** Attributes whose text a person reads or hears. */
const READ = new Set(['title', 'placeholder', 'label', 'aria-label', 'alt', 'message', 'description', 'okText', 'cancelText', 'hint', 'extra', 'tooltip', 'content', 'summary']);
/** What is no language: notation, examples in the form that a field wants. */
const NOTATION = /^(Ctrl K|#|role=web|tcp\/443|0{6}|tls:\/\/\S+|https:\/\/\S+|bulkhead host join\b.*)$/;

function texts(file: ts.SourceFile): string[] {
  const found: string[] = [];
  const say = (node: ts.Node, text: string): void => {
    const plain = text.replace(/&\w+;/g, '').trim();
    if (/[A-Za-z\u4e00-\u9fff]{2,}/.test(plain) && !NOTATION.test(plain)) {
      found.push(`${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1} "${plain}"`);
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isJsxText(node)) {
      say(node, node.text);
    }
    if (ts.isJsxAttribute(node) && READ.has(node.name.getText()) && node.initializer) {
      const value = ts.isJsxExpression(node.initializer) ? node.initializer.expression : node.initializer;
      if (value && ts.isStringLiteralLike(value)) {
        say(value, value.text);
      }
    }
    if (ts.isPropertyAssignment(node) && READ.has(node.name.getText()) && ts.isStringLiteralLike(node.initializer) && !(node.initializer.text in english)) {
      say(node.initializer, node.initializer.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

describe('components', () => {
  it('take every text from the catalogues', () => {
    const found = [...sources(SRC)].flatMap((path) => texts(parse(path)));
    expect(found).toEqual([]);
  });

  it('leave no text in the catalogues unused', () => {
    const code = [...sources(SRC)].map((path) => readFileSync(path, 'utf8')).join('\n');
    const put = [...code.matchAll(/`([a-z][a-z.-]*\.)\$\{/g)].map((m) => m[1] ?? '');
    const unused = Object.keys(english).filter((key) => {
      const stem = key.replace(/\.(one|other)$/, '');
      return !code.includes(`'${key}'`) && !code.includes(`'${stem}'`) && !put.some((p) => key.startsWith(p));
    });
    expect(unused).toEqual([]);
  });
});
