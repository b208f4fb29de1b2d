/** What tests import: a communicator for each protocol, which plays the client without a socket. */
export { ApplicationCommunicator, type CommunicatorOptions } from './src/testing/application-communicator.ts'
export { HttpCommunicator, type HttpRequestLike, type HttpResponseLike } from './protocols/http/communicator.ts'
export { WebsocketCommunicator, type HandshakeLike, type HandshakeAnswer } from './protocols/websocket/communicator.ts'
export { EmailCommunicator } from './protocols/email/communicator.ts'
export { SmsCommunicator } from './protocols/sms/communicator.ts'
export { MqttCommunicator, type MqttCommunicatorOptions, type Published } from './protocols/mqtt/communicator.ts'
