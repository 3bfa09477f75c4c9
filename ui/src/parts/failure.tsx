// SPDX-License-Identifier: Apache-2.0
// What went wrong, in words, and what to do about it.
import {Alert, Button, Space, Typography} from 'antd';
import {Link} from 'react-router-dom';

import {ApiError} from '../api/client';
import {useI18n} from '../i18n/i18n';
import {refusalOf} from './refusal';

interface Props {
  error: unknown;
  onRetry?: () => void;
  /** The reader follows a link: what shows this is in the way. */
  onLeave?: () => void;
  whole?: boolean;
  compact?: boolean;
}

/** Words of the manager; they are English whatever the console speaks. */
function Words({text}: {text: string}) {
  return (
    <Typography.Text className="wrap" lang="en">
      {text}
    </Typography.Text>
  );
}

export function Failure({error, onRetry, onLeave, whole, compact}: Props) {
  const i18n = useI18n();
  const {t} = i18n;
  const {title, detail, advice, ask} = refusalOf(error, i18n);
  const body = error instanceof ApiError ? error.body : undefined;
  const place = body?.file || body?.line ? [body.file, body.line, body.column].filter(Boolean).join(':') : '';
  return (
    <div className={whole ? 'failure failure-whole' : compact ? 'failure failure-compact' : 'failure'}>
      <Alert
        type={ask || body?.code === 'step_up' ? 'warning' : 'error'}
        showIcon
        role="alert"
        message={title}
        description={
          <Space direction="vertical" size={4}>
            {detail && <Words text={detail} />}
            {place && <Typography.Text code>{place}</Typography.Text>}
            {body?.conflicts?.map((c) => (
              <Typography.Text key={c.policy} className="num">
                {t('error.conflict.policy', {policy: c.policy, revision: String(c.revision)})}
              </Typography.Text>
            ))}
            {body?.hosts?.map((h) => (
              <Typography.Text key={h.host + h.table} className="num">
                {t('error.capacity.host', {host: h.host, table: h.table, need: h.need, capacity: h.capacity})}
              </Typography.Text>
            ))}
            {advice && <Typography.Text type="secondary">{advice}</Typography.Text>}
            {ask && (
              <Link to={ask} onClick={onLeave}>
                {t('error.ask')}
              </Link>
            )}
            {body?.code === 'step_up' && (
              <Link to="/me" onClick={onLeave}>
                {t('error.step_up.me')}
              </Link>
            )}
          </Space>
        }
        action={
          onRetry && (
            <Button size="small" onClick={onRetry}>
              {t('action.retry')}
            </Button>
          )
        }
      />
    </div>
  );
}
