// SPDX-License-Identifier: Apache-2.0
// main.tsx imports this before anything else, so it runs before all other modules: the manager answers while Ant Design sets itself up.
import {askEarly} from '../api/session';

askEarly();
