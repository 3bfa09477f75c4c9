// SPDX-License-Identifier: Apache-2.0
// A page that breaks takes nothing else with it. A chunk that can't be had means that the manager has another version by now: load anew.
import {Component, type ReactNode} from 'react';

import {Failure} from './failure';

interface Props {
  children: ReactNode;
}

export class Boundary extends Component<Props, {error: unknown}> {
  override state: {error: unknown} = {error: null};

  static getDerivedStateFromError(error: unknown): {error: unknown} {
    return {error};
  }

  override render(): ReactNode {
    return this.state.error === null ? this.props.children : <Failure error={this.state.error} onRetry={() => location.reload()} whole />;
  }
}
