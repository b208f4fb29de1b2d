/** The package's face: what handlers, routers in code and programs that embed the gateway import. */
export type {
  Application,
  BaseScope,
  Event,
  Middleware,
  Params,
  Protocol,
  Receive,
  Resolution,
  Send,
  State,
  Step,
} from './src/asgi/protocol.ts'
export type {
  ChannelLayer,
  ConsumeOptions,
  GroupSendResult,
  LayerStats,
  Message,
  SendResult,
  Work,
  WorkHandler,
} from './src/asgi/channel-layer.ts'
export type { ChannelProtocol, ChannelScope } from './src/asgi/channel.ts'
export type { Context, Log } from './src/asgi/context.ts'
export type { LifespanProtocol, LifespanScope } from './src/asgi/lifespan.ts'
export type {
  Adapter,
  Connection,
  Delivery,
  Listener,
  Outcome,
  Services,
  SharedRedis,
  Transport,
} from './src/asgi/adapter.ts'
export type { ProtocolDefinition } from './src/asgi/definition.ts'
export type { RouterDefinition, RuleKey, Matcher } from './src/asgi/router.ts'
export { SignalboxError, errorCodes, permanent, type ErrorCode } from './src/runtime/errors.ts'
export { Consumer, type Groups } from './src/consumers/consumer.ts'
export { ChannelConsumer, SyncChannelConsumer } from './src/consumers/channel-consumer.ts'
export { SyncConsumer } from './src/consumers/sync-consumer.ts'
export { isSyncHandler, syncHandler } from './src/runtime/blocking.ts'
export type {
  Async,
  Kind,
  Sync,
  SyncApplication,
  SyncConsumerClass,
  SyncContext,
  SyncLayer,
  SyncReceive,
  SyncSend,
  SyncSignal,
} from './src/asgi/sync.ts'
export { syncToAsync, type SyncToAsyncOptions } from './src/bridge/sync-to-async.ts'
export { asyncToSync, type AsyncToSyncOptions } from './src/bridge/async-to-sync.ts'
export { syncApplication, type SyncApplicationOptions } from './src/bridge/sync-application.ts'
export { transfer } from './src/bridge/pack.ts'
export { currentScope, currentSignal } from './src/bridge/current.ts'
export { currentLog } from './src/bridge/log.ts'
export { withScope } from './src/bridge/trail.ts'
export { BridgePool, type BridgeStats } from './src/bridge/pool.ts'
export type { BridgeOptions } from './src/bridge/options.ts'
export { MemoryLayer } from './src/layers/memory.ts'
export { RedisLayer } from './src/layers/redis-layer.ts'
export type { DeadLetter, LayerOptions } from './src/layers/limits.ts'
export type { RedisLayerOptions } from './src/layers/redis-options.ts'
export { wrap } from './src/routing/wrap.ts'
export { defineRouter, orderedRouter } from './src/routing/router.ts'
export { URLRouter } from './src/routing/url-router.ts'
export { ChannelNameRouter } from './src/routing/channel-name-router.ts'
export { accessLog } from './src/middleware/access-log.ts'
export { allowedHosts } from './src/middleware/allowed-hosts.ts'
export { allowedOrigins } from './src/middleware/allowed-origins.ts'
export { timeout } from './src/middleware/timeout.ts'
export { Gateway } from './src/server/embedded-gateway.ts'
export type { GatewayStats, ServedProtocol } from './src/server/gateway.ts'
export type { GatewayOptions, GatewayParts } from './src/server/options.ts'
export { ProtocolTypeRouter, type Scope } from './protocols/registry.ts'
export type * from './protocols/http/scope.ts'
export type * from './protocols/websocket/scope.ts'
export type * from './protocols/mqtt/scope.ts'
export type * from './protocols/email/scope.ts'
export type * from './protocols/sms/scope.ts'
export { HttpConsumer, httpHandler } from './protocols/http/consumer.ts'
export type { HttpReply } from './protocols/http/consumer.ts'
export { SyncHttpConsumer, syncHttpHandler } from './protocols/http/sync-consumer.ts'
export type { HttpAnswer, HttpRequestReader, SyncHttpRequest } from './protocols/http/request.ts'
export { SyncWebsocketConsumer, WebsocketConsumer } from './protocols/websocket/consumer.ts'
export { MqttConsumer, SyncMqttConsumer } from './protocols/mqtt/consumer.ts'
export { EmailConsumer, SyncEmailConsumer } from './protocols/email/consumer.ts'
export { SmsConsumer, SyncSmsConsumer } from './protocols/sms/consumer.ts'
export { TopicRouter } from './protocols/mqtt/router.ts'
export { EmailToRouter } from './protocols/email/router.ts'
export { SMSFromRouter } from './protocols/sms/router.ts'
export { segments } from './protocols/sms/text.ts'
export { builtinMiddleware } from './src/middleware/registry.ts'
export { protocols } from './protocols/registry.ts'
