/** What a worker may call on its scope's layer. */
import type { LayerMethod } from '../asgi/sync.ts'

export const layerMethods = [
  'send',
  'groupAdd',
  'groupDiscard',
  'groupSend',
  'groupMembers',
  'groupSize',
] as const satisfies readonly LayerMethod[]
