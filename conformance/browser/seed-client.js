const ws = new WebSocket('ws://example.com/chat');

ws.onopen = () => {
    console.log('Соединение установлено');
    ws.send('Привет, сервер!');
};

ws.onmessage = (event) => {
    console.log('Получено:', event.data);
};

ws.onerror = (error) => {
    console.error('Ошибка:', error);
};

ws.onclose = () => {
    console.log('Соединение закрыто');
};
