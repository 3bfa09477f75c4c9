// SPDX-License-Identifier: Apache-2.0
// A field for words that goes into the filters once the reader pauses.
import {SearchOutlined} from '@ant-design/icons';
import {Input} from 'antd';
import {useEffect, useState} from 'react';

interface Props {
  value: string | undefined;
  onChange: (value: string | undefined) => void;
  placeholder: string;
  width?: number;
}

const PAUSE_MS = 300;

export function SearchField({value, onChange, placeholder, width = 240}: Props) {
  const [text, setText] = useState(value ?? '');
  useEffect(() => setText(value ?? ''), [value]);
  useEffect(() => {
    if (text === (value ?? '')) {
      return undefined;
    }
    const timer = setTimeout(() => onChange(text.trim() || undefined), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, value, onChange]);
  return (
    <Input
      allowClear
      prefix={<SearchOutlined className="dim" />}
      placeholder={placeholder}
      aria-label={placeholder}
      value={text}
      style={{width}}
      onChange={(e) => setText(e.target.value)}
      onPressEnter={() => onChange(text.trim() || undefined)}
    />
  );
}
