// SPDX-License-Identifier: Apache-2.0
// The frame of a page: its name, how many things it shows, what can be done here.
import {Typography} from 'antd';
import {useEffect, type ReactNode} from 'react';
import {Link} from 'react-router-dom';

import {useI18n} from '../i18n/i18n';

interface Props {
  title: string;
  /** Where it stands: names with their paths, from above. */
  trail?: {name: string; to: string}[];
  count?: number | undefined;
  extra?: ReactNode;
  tags?: ReactNode;
  children: ReactNode;
}

export function PageFrame({title, trail, count, extra, tags, children}: Props) {
  const {number, t} = useI18n();
  useEffect(() => {
    document.title = `${title} · ${t('app.name')}`;
  }, [title, t]);
  return (
    <section className="page">
      <header className="page-head">
        <div className="page-title">
          {trail?.map((step) => (
            <span key={step.to} className="page-trail">
              <Link to={step.to}>{step.name}</Link>
              <span aria-hidden>/</span>
            </span>
          ))}
          <Typography.Title level={4} className="page-name">
            {title}
          </Typography.Title>
          {count !== undefined && <span className="page-count">{number(count)}</span>}
          {tags}
        </div>
        {extra && <div className="page-extra">{extra}</div>}
      </header>
      {children}
    </section>
  );
}
