/** A test with a channel layer of its own, which is closed afterwards. */
import { test } from '@jest/globals'
import type { ChannelLayer } from '../../src/asgi/channel-layer.ts'
import type { LayerOptions } from '../../src/layers/limits.ts'

/** A new layer that shares nothing with any other. The suite closes it. */
export type MakeLayer = (options?: LayerOptions) => Promise<ChannelLayer>

export type LayerTest = (
  title: string,
  options: LayerOptions | undefined,
  body: (layer: ChannelLayer) => Promise<void>,
) => void

export function layerTest(makeLayer: MakeLayer): LayerTest {
  return (title, options, body) =>
    test(title, async () => {
      const layer = await makeLayer(options)
      try {
        await body(layer)
      } finally {
        await layer.close()
      }
    })
}
