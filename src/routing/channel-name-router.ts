/** ChannelNameRouter: routes the named channels that workers serve. */
import { z } from 'zod'
import type { ChannelProtocol, ChannelScope } from '../asgi/channel.ts'
import type { RouterDefinition } from '../asgi/router.ts'
import { defineRouter } from './router.ts'

export const channelNameRouterDefinition = {
  name: 'ChannelNameRouter',
  protocols: ['channel'],
  keys: {
    channel: {
      description: 'the name of a channel, such as thumbnails',
      schema: z.string(),
      compile(name: string) {
        if (!/^[\w.-]{1,100}$/.test(name)) {
          throw new Error(`expected 1 to 100 characters of A-Z a-z 0-9 - _ ., found ${JSON.stringify(name)}`)
        }
        return {
          text: `channel ${name}`,
          tokens: [name],
          open: false,
          total: true,
          match: (address: string) => (address === name ? { params: {}, rest: '' } : undefined),
        }
      },
    },
  },
  address: (scope: ChannelScope) => scope.channel,
  tokens: (address: string) => [address],
} satisfies RouterDefinition<ChannelScope>

/** `ChannelNameRouter([{ channel: 'thumbnails', app }])`. */
export const ChannelNameRouter = defineRouter<ChannelProtocol, 'channel'>(channelNameRouterDefinition)
