/// <reference types="miniprogram-api-typings" />

import Wx = WechatMiniprogram

/** The versions of a mini program, as `wx.getAccountInfoSync` names them. */
export interface BaseUrls {
  develop?: string
  trial?: string
  /** Also where one of the others is left out. */
  release: string
}

/** Where the token goes, in the words of the gate's `session.token_from`. */
export type TokenPlace = 'authorization' | `header:${string}`
export type SocketTokenPlace = TokenPlace | `query:${string}` | 'websocket-protocol'

export interface Paths {
  login: string
  decrypt: string
  phone: string
  /** `''` when the gate has none: then no session is looked at beforehand. */
  session: string
  logout: string
}

/** The APIs that are used, as `wx` has them. `uni` and `Taro` do. */
export interface Platform {
  login(options: any): any
  checkSession(options: any): any
  request(options: any): any
  uploadFile(options: any): any
  downloadFile(options: any): any
  connectSocket(options: any): any
  getStorageSync(key: string): any
  setStorageSync(key: string, value: any): void
  removeStorageSync(key: string): void
  getAccountInfoSync?(): any
  getFileSystemManager?(): any
}

export interface ClientSettings {
  /** `https://` and your domain, in front of the gate. */
  baseUrl: string | BaseUrls
  /** `uni` or `Taro` instead of `wx`. */
  wx?: Platform
  /** As in the gate's `[paths]`. */
  paths?: Partial<Paths>
  /** Default `'authorization'`. */
  tokenIn?: TokenPlace
  /** In WebSocket handshakes. Default: as `tokenIn`. */
  socketTokenIn?: SocketTokenPlace
  /** As the gate's `errors.envelope`. */
  envelope?: 'problem' | 'code-msg-data'
  /** More fields for every login, for the gate's `login.hook`. */
  loginData?: Record<string, any> | (() => Record<string, any>)
  /** How often a call is repeated on `retry`. Default 1. */
  retries?: number
  /** The longest `Retry-After` that is waited for, in seconds. Default 5. */
  maxRetryAfter?: number
  /** After how long without an answer an upload asks for the session first, in seconds. Default 60. */
  quietSeconds?: number
}

/** What to do: see the README. */
export type Reason = 'relogin' | 'reacquire' | 'retry' | 'offline' | 'refused'

/** The code of a problem of the gate, or one of the client's own. */
export type ErrorCode =
  | 'network' | 'timeout' | 'aborted'
  | 'logged_out' | 'no_data' | 'socket_failed' | 'foreign_url' | 'unexpected_answer'
  | (string & {})

export class GateError extends Error {
  readonly name: 'GateError'
  readonly code: ErrorCode
  /** The HTTP status; 0 when no answer came. */
  readonly status: number
  readonly reason: Reason
  /** For developers, not for users. */
  readonly detail: string
  /** Under which the gate's log knows the request. */
  readonly requestId: string
  /** Seconds, when the reason is `retry`. */
  readonly retryAfter?: number
  /** The body of the answer. */
  readonly data?: any
}

export interface LoginAnswer {
  token: string
  token_type: 'Bearer'
  expires_in: number
  idle_expires_in?: number
  appid: string
  openid?: string
  unionid?: string
  /** What the app server's login hook answered. */
  data?: any
}

export interface PhoneNumber {
  phoneNumber: string
  purePhoneNumber: string
  countryCode: string | number
  watermark: { appid: string; timestamp: number }
}

/** For those who prefer callbacks; the promise comes all the same. */
export interface Callbacks<Result> {
  success?(result: Result): void
  fail?(error: GateError): void
  complete?(result: Result | GateError): void
}

/** Options of a wx API, but for its callbacks. */
type Options<Option, Result, Task> = Omit<Option, 'success' | 'fail' | 'complete'> & Callbacks<Result> & {
  /** Gets the task, for progress and abort. Once more if the call is repeated. */
  onTask?(task: Task): void
}

type Answer<Result, Data> = Omit<Result, 'data'> & { data: Data }

export type RequestResult<T> = Answer<Wx.RequestSuccessCallbackResult, T>
export type RequestOptions<T = any> = Options<Wx.RequestOption, RequestResult<T>, Wx.RequestTask>

/** `data` is a value if the answer is JSON, else the text. */
export type UploadResult<T> = Answer<Wx.UploadFileSuccessCallbackResult, T>
export type UploadOptions<T = any> = Options<Wx.UploadFileOption, UploadResult<T>, Wx.UploadTask>

export type DownloadResult = Wx.DownloadFileSuccessCallbackResult
export type DownloadOptions = Options<Wx.DownloadFileOption, DownloadResult, Wx.DownloadTask>

export type SocketOptions = Options<Wx.ConnectSocketOption, Wx.SocketTask, Wx.SocketTask> & {
  /** These hear everything; a listener that is added to the task later may miss the first message. */
  onOpen?(result: Wx.OnOpenListenerResult): void
  onMessage?(message: Wx.SocketTaskOnMessageListenerResult): void
  /** Of a socket that was open. */
  onClose?(closed: Wx.SocketTaskOnCloseListenerResult): void
  onError?(failure: Wx.GeneralCallbackResult): void
}

/** Options of the gate's own routes. */
export interface CallOptions<Result> extends Callbacks<Result> {
  timeout?: number
  header?: Record<string, string>
}

export interface LoginOptions extends CallOptions<LoginAnswer> {
  /** More fields, for the gate's `login.hook`. */
  data?: Record<string, any>
}

export interface LogoutOptions extends CallOptions<void> {
  /** All sessions of this user, on all devices. */
  all?: boolean
}

/** What WeChat hands over: the result of `wx.getWeRunData` and its like, or `e.detail` of a button. */
export interface EncryptedData {
  encryptedData?: string
  iv?: string
  rawData?: string
  signature?: string
  errMsg?: string
}

/** `e.detail` of a `bindgetphonenumber` event. */
export interface PhoneDetail {
  code?: string
  errMsg?: string
}

export interface Client {
  readonly baseUrl: string
  /** Logs in now, although there may be a session. Every other call logs in by itself where it has to. */
  login(options?: LoginOptions): Promise<LoginAnswer>
  /** As `wx.request`: what the app server answers is no error, whatever the status. */
  request<T = any>(options: RequestOptions<T>): Promise<RequestResult<T>>
  uploadFile<T = any>(options: UploadOptions<T>): Promise<UploadResult<T>>
  downloadFile(options: DownloadOptions): Promise<DownloadResult>
  /** The task, when the socket is open. */
  connectSocket(options: SocketOptions): Promise<Wx.SocketTask>
  /** To be called before a button is shown whose data will be decrypted; never in its callback. */
  prepareData(options?: Callbacks<void>): Promise<void>
  decrypt<T = any>(data: EncryptedData, options?: CallOptions<T>): Promise<T>
  phone<T = PhoneNumber>(detail: PhoneDetail, options?: CallOptions<T>): Promise<T>
  /** When it is rejected, you are still logged in. */
  logout(options?: LogoutOptions): Promise<void>
}

export function createClient(settings: ClientSettings): Client
