// SPDX-License-Identifier: Apache-2.0
// Nothing here: why that may be, and what to do about it.
import {Empty, Typography} from 'antd';
import type {ReactNode} from 'react';

interface Props {
  title: string;
  hint?: ReactNode;
  action?: ReactNode;
}

export function Nothing({title, hint, action}: Props) {
  return (
    <Empty
      image={Empty.PRESENTED_IMAGE_SIMPLE}
      className="nothing"
      description={
        <>
          <Typography.Text>{title}</Typography.Text>
          {hint && <div className="nothing-hint">{hint}</div>}
        </>
      }
    >
      {action}
    </Empty>
  );
}
