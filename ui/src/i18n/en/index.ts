// SPDX-License-Identifier: Apache-2.0
// The texts of the console in English, the reference for all others. {name} stands for a value; .one and .other for one thing and many.
import {alerts} from './alerts';
import {audit} from './audit';
import {errors} from './errors';
import {events} from './events';
import {frame} from './frame';
import {hosts} from './hosts';
import {login} from './login';
import {map} from './map';
import {me} from './me';
import {migrations} from './migrations';
import {overview} from './overview';
import {policies} from './policies';
import {requests} from './requests';
import {rights} from './rights';
import {settings} from './settings';
import {users} from './users';
import {vms} from './vms';

export const en = {
  ...frame,
  ...login,
  ...errors,
  ...overview,
  ...vms,
  ...hosts,
  ...events,
  ...migrations,
  ...policies,
  ...map,
  ...alerts,
  ...audit,
  ...requests,
  ...users,
  ...rights,
  ...me,
  ...settings,
} as const;
